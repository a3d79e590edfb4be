-- What a claim leased: one row a claim, written by the statement that takes the leases. A process whose answer was lost finds
-- here what is leased to it without its knowledge; an index of the leases themselves would make every claim write all
-- indexes of the queue.
--
-- A row goes when nothing is leased under it any more, some seconds later at the latest (src/delivery/queue/reconcile.rs).
CREATE TABLE openregister_webhooks.claim (
    worker     uuid     NOT NULL,                -- worker.id
    number     bigint   NOT NULL,                -- ascends with every claim of the worker
    deliveries bigint[] NOT NULL,                -- delivery.id
    fences     bigint[] NOT NULL,                -- and delivery.fence of each, as of this claim
    PRIMARY KEY (worker, number)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
