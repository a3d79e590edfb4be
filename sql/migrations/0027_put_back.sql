-- Whether a delivery was put back already is looked up for each one that a bulk retry counts or puts back. What was put back has a later row,
-- whose reason is not "live"; of live deliveries this index holds nothing, so they write nothing here.
-- As in migration 26, days that exist get it one by one, in index_log() of sql/functions.sql.
CREATE INDEX delivery_log_again ON ONLY openregister_webhooks.delivery_log (webhook, event_seq, id) WHERE reason <> 'live';
