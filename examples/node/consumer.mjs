// Receives webhooks of openregister-webhooks: verifies each, and stores it exactly once.
//
// A delivery may come more than once: after a timeout, a crash on either side, or a replay. Its `webhook-id` is the same every time. So the
// id and everything that the delivery changes are written in one transaction, before the answer. After a crash either both are there or
// neither is, and if the answer was lost, the repeat finds the id and changes nothing.
import { readFileSync } from "node:fs";

import express from "express";
import pg from "pg";
import { Webhook } from "standardwebhooks";

// The signing secret of the webhook, whsec_…, in a file that only this program may read.
const webhook = new Webhook(readFileSync(process.env.WEBHOOK_SECRET_FILE ?? "secret", "ascii").trim());
const port = Number(process.env.PORT ?? 9002);
// An update carries an object three times. A larger body gets 413; it is sent again, and given up in the end.
const largestBody = "16mb";

const schema = `
    CREATE TABLE IF NOT EXISTS inbox (webhook_id text PRIMARY KEY, received_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX IF NOT EXISTS inbox_received_at ON inbox (received_at);
    CREATE TABLE IF NOT EXISTS journal (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event text NOT NULL, uuid text, body json NOT NULL
    )`;
// Ids are kept for longer than the sidecar can send a delivery again (three days, unless it was configured otherwise).
const forget = `
    DELETE FROM inbox WHERE webhook_id IN (
        SELECT webhook_id FROM inbox WHERE received_at < now() - interval '30 days' LIMIT 10 FOR UPDATE SKIP LOCKED
    )`;

// No wait is longer than 5 s, so that the answer comes within the webhook's timeout of 15 s.
const pool = new pg.Pool({
    connectionString: process.env.DATABASE_URL, max: 8, connectionTimeoutMillis: 5000, query_timeout: 5000, statement_timeout: 5000,
});
pool.on("error", (error) => console.error(`a connection that was not in use broke: ${error.message}`));

/** Writes the id and the effect together. False if the delivery has been here before. */
async function store(webhookId, event, body) {
    const database = await pool.connect();
    let failure;
    try {
        await database.query("BEGIN");
        // If the same delivery is being stored at this moment, this waits until that transaction has ended.
        const inbox = await database.query("INSERT INTO inbox (webhook_id) VALUES ($1) ON CONFLICT DO NOTHING", [webhookId]);
        const isNew = inbox.rowCount === 1;
        if (isNew) {
            // The effect. Replace it with your own, in this transaction.
            const uuid = event.data.object?.uuid ?? null;
            await database.query("INSERT INTO journal (event, uuid, body) VALUES ($1, $2, $3)", [event.event, uuid, body]);
            await database.query(forget);
        }
        await database.query("COMMIT");
        return isNew;
    } catch (error) {
        failure = error;
        throw error;
    } finally {
        // A connection on which something failed is closed, and the server rolls its transaction back.
        database.release(failure);
    }
}

const app = express();
app.disable("x-powered-by");
// `raw` keeps the bytes as they came: the signature covers them. A body that was parsed and written again has others.
app.post("/hook", express.raw({ type: () => true, limit: largestBody }), async (request, response) => {
    let event;
    try {
        // Also refuses what was signed more than five minutes ago.
        event = webhook.verify(request.body, request.headers);
    } catch (error) {
        response.status(401).type("text").send(`not accepted: ${error.message}\n`);
        return;
    }
    if (request.get("orw-reason") === "test") {
        response.status(204).end(); // `openregister-webhooks webhook test`: nothing has happened
        return;
    }
    try {
        const isNew = await store(request.get("webhook-id"), event, request.body.toString());
        console.log(isNew ? "stored" : "repeat", request.get("webhook-id"), event.event);
        response.status(204).end();
    } catch (error) {
        console.error(`not stored: ${error.message}`);
        response.status(503).type("text").send("try again later\n");
    }
});
app.use((error, _request, response, _next) => {
    response.status(error.status ?? 500).type("text").send(`${error.message}\n`);
});

await pool.query(schema);
const server = app.listen(port, "127.0.0.1");
// How long a request may take to arrive.
server.requestTimeout = 15_000;
server.headersTimeout = 10_000;
