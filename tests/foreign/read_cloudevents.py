"""Reads requests with the `cloudevents` package of PyPI as it is: python read_cloudevents.py CASES.json"""

import json
import sys

from cloudevents.conversion import to_json
from cloudevents.http import from_http, from_json

with open(sys.argv[1], encoding="utf-8") as file:
    cases = json.load(file)
for case in cases:
    sent = case["event"]
    event = from_http(case["headers"], case["body"].encode("utf-8"))
    attributes = dict(event.get_attributes())
    expected = {name: value for name, value in sent.items() if name != "data"}
    assert attributes == expected, (attributes, expected)
    assert event.data == sent["data"], sent["type"]
    # And written again by the package, it is the same event.
    again = from_json(to_json(event))
    assert again.get_attributes() == event.get_attributes() and again.data == event.data
print(len(cases))
