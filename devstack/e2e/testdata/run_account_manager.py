"""Runs the example client of document A: base URL, API key and a phone number in, what it reports out, as JSON.

The example imports `requests`; the few calls it makes of that are made here with the standard library.
"""
import json
import os
import sys
import urllib.error
import urllib.request


class Response:
    def __init__(self, status_code, body):
        self.status_code, self.body = status_code, body

    def json(self):
        return json.loads(self.body)


class requests:
    @staticmethod
    def send(method, url, headers, body=None):
        data = None if body is None else json.dumps(body).encode()
        sent = dict(headers, **({"Content-Type": "application/json"} if data else {}))
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data, sent, method=method), timeout=20) as answer:
                return Response(answer.status, answer.read())
        except urllib.error.HTTPError as refused:
            return Response(refused.code, refused.read())

    @staticmethod
    def get(url, headers):
        return requests.send("GET", url, headers)

    @staticmethod
    def post(url, headers, json):
        return requests.send("POST", url, headers, json)


base, key, number = sys.argv[1:]
with open(os.path.join(os.path.dirname(__file__), "account_manager.py"), encoding="utf-8") as source:
    exec(source.read())
manager = AccountManager(key)
manager.base_url = base + "/api/v1"
print(json.dumps({"health": manager.get_account_health(), "phone": manager.ensure_phone_verified(number)}))
