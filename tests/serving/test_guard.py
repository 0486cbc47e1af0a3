"""Only the server's own page, and programs, are let in."""

import asyncio
import json

import pytest

from geomtp.serving.guard import Guard


def asked(method="GET", path="/api/jobs", allowed_hosts=(), **headers):
    """Status and answer of a request, and whether the application saw it."""
    sent, seen = [], []

    async def app(scope, receive, send):
        seen.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"detail": "seen"}'})

    async def send(message):
        sent.append(message)

    named = {"host": "127.0.0.1:8000", **{k.replace("_", "-"): v for k, v in headers.items()}}
    scope = {
        "type": "http", "method": method, "path": path,
        "headers": [(k.encode(), v.encode()) for k, v in named.items()],
    }  # fmt: skip
    asyncio.run(Guard(app, allowed_hosts)(scope, None, send))
    headers = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    return sent[0]["status"], json.loads(sent[1]["body"])["detail"], bool(seen), headers


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "192.168.0.7", "LOCALHOST:80"],
)
def test_addresses_and_localhost_are_this_server(host):
    assert asked(host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[", "localhost."]
)
def test_other_names_are_not(host):
    status, sentence, seen, _ = asked(host=host)
    assert (status, seen) == (421, False)
    assert "--allowed_hosts" in sentence


def test_a_name_may_be_allowed():
    assert asked(host="maps.example:8000", allowed_hosts=["Maps.example"])[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site", "origin": "http://127.0.0.1:8000"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_pages_of_others_change_nothing(headers, method):
    status, sentence, seen, _ = asked(method, **headers)
    assert (status, seen) == (403, False)
    assert sentence == "requests from pages of other servers are refused"


def test_the_own_page_and_programs_may():
    own = {"origin": "http://127.0.0.1:8000", "sec_fetch_site": "same-origin"}
    assert asked("POST", content_length="10", **own)[0] == 200
    assert asked("POST", content_length="10")[0] == 200


def test_only_uploads_are_long():
    assert asked("POST", content_length="70000")[0] == 413
    assert asked("POST", transfer_encoding="chunked")[0] == 411
    assert asked("POST", "/api/rasters", transfer_encoding="chunked")[0] == 200


def test_all_answers_forbid_scripts_from_elsewhere():
    for host in ("localhost", "evil.example"):
        headers = asked(host=host)[3]
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
