"""Reads requests with version 2 of the `cloudevents` package of PyPI as it is: python read_cloudevents_2.py CASES.json"""

import json
import sys
from datetime import datetime

from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_structured_event

with open(sys.argv[1], encoding="utf-8") as file:
    cases = json.load(file)
for case in cases:
    sent = case["event"]
    event = from_http_event(HTTPMessage(headers=case["headers"], body=case["body"].encode("utf-8")))
    attributes = dict(event.get_attributes())
    expected = {name: value for name, value in sent.items() if name != "data"}
    assert attributes.pop("time") == datetime.fromisoformat(expected.pop("time")), sent["type"]
    assert attributes == expected, (attributes, expected)
    assert event.get_data() == sent["data"], sent["type"]
    # And written again by the package, it is the same event.
    again = json.loads(to_structured_event(event).body)
    again.pop("time")
    assert again == {name: value for name, value in sent.items() if name != "time"}, (again, sent)
print(len(cases))
