// The SQL console with node-postgres, as it is: node console.mjs PACKAGES CONNECTION; the connection's user is a reader.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(`${process.argv[2]}/`);
const { Client } = require("pg");

const client = new Client({ connectionString: process.argv[3] });
await client.connect();
const { rows } = await client.query("SHOW WEBHOOKS");
assert.equal(typeof rows[0].id, "string");
assert.ok(rows[0].created_at instanceof Date);
const named = { name: "deliveries", text: "SHOW DELIVERIES WEBHOOK $1 LIMIT $2", values: [rows[0].id, 5] };
for (let at = 0; at < 3; at += 1) {
    assert.deepEqual((await client.query(named)).rows, []);
}
assert.equal((await client.query("SHOW WORKERS")).rows[0].alive, true);
await assert.rejects(client.query("PAUSE $1", [rows[0].id]), { code: "42501" });
assert.equal((await client.query("SHOW VERSION")).rows.length, 1);
await client.end();
process.stdout.write("ok\n");
