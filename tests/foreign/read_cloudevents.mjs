// Reads requests with the `cloudevents` package of npm as it is: node read_cloudevents.mjs PACKAGES CASES.json
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.argv[2]}/`);
const { HTTP } = require("cloudevents");

const cases = JSON.parse(readFileSync(process.argv[3], "utf8"));
for (const { headers, body, event: sent } of cases) {
    const message = { headers, body };
    assert.ok(HTTP.isEvent(message));
    const event = HTTP.toEvent(message);
    // Throws where the specification is not kept.
    event.validate();
    // Attributes that are not there are undefined in the package, and gone once it is written; of times it keeps milliseconds.
    const read = JSON.parse(JSON.stringify(event));
    assert.equal(Date.parse(read.time), Date.parse(sent.time));
    assert.deepEqual({ ...read, time: sent.time }, sent);
}
console.log(cases.length);
