"""An operator is logged in, and his browser opens pages of others: what those pages send changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from egoworld_resources.s3.buckets import client
from egoworld_resources.server.running import Server
from tests.made_browser import Browser, browser_open
from tests.made_server import in_proxy
from tests.servers import answering
from tests.waiting import wait_for

SET = 'mutation{setConcurrencyLimit(concurrencyKey:"%s",limit:3)}'
POOLS = b'{"query":"{instance{concurrencyLimits{concurrencyKey}}}"}'

SCRIPT = """
const mutation = name => `mutation{setConcurrencyLimit(concurrencyKey:"${name}",limit:3)}`;
const body = name => JSON.stringify({query: mutation(name)});
const pause = seconds => new Promise(done => setTimeout(done, 1000 * seconds));
const within = (seconds, what) => Promise.race([what, pause(seconds)]).catch(() => {});
let frames_made = 0;
function form(action, fields, options) {
  const made = document.createElement('form'), target = `frame${frames_made++}`;
  Object.assign(made, {method: 'POST', action, target}, options);
  for (const [name, value] of Object.entries(fields)) {
    const field = Object.assign(document.createElement('input'), {name, value});
    made.append(field);
  }
  const frame = Object.assign(document.createElement('iframe'), {name: target});
  document.body.append(frame, made);
  return new Promise(done => { frame.onload = () => done(); made.submit(); });
}
const tag = (name, attributes) => new Promise(done => {
  const made = Object.assign(document.createElement(name), attributes);
  made.onload = made.onerror = () => done();
  document.body.append(made);
});
const socket = (url, text) => new Promise(done => {
  const opened = new WebSocket(url, 'graphql-ws');
  opened.onopen = () => { opened.send(JSON.stringify({type: 'connection_init'})); opened.send(text); };
  opened.onmessage = event => { if (!event.data.includes('ack')) done('answered'); };
  opened.onerror = opened.onclose = () => done('refused');
});
"""

ATTACKS = {
    "form of text": (
        "form(UI + '/graphql', {[body('NAME').slice(0, -1) + ',\"x\":\"']: '\"}'}, {enctype: 'text/plain'})"
    ),
    "form": "form(UI + '/graphql', {query: mutation('NAME')}, {})",
    "form with the query in its address": (
        "form(UI + '/graphql?query=' + encodeURIComponent(mutation('NAME')), {a: '1'}, {})"
    ),
    "form of files": "form(UI + '/graphql', {query: mutation('NAME')}, {enctype: 'multipart/form-data'})",
    "image": "tag('img', {src: UI + '/graphql?query=' + encodeURIComponent(mutation('NAME'))})",
    "image, query twice": (
        "tag('img', {src: UI + '/graphql?query={version}&query=' + encodeURIComponent(mutation('NAME'))})"
    ),
    "script": "tag('script', {src: UI + '/%67raphql?query=' + encodeURIComponent(mutation('NAME'))})",
    "frame": "tag('iframe', {src: UI + '/graphql?query=' + encodeURIComponent(mutation('NAME'))})",
    "fetch": "fetch(UI + '/graphql', {method: 'POST', mode: 'no-cors', credentials: 'include', body: body('NAME')})",
    "fetch of text that says JSON": (
        "fetch(UI + '/graphql', {method: 'POST', mode: 'no-cors', credentials: 'include', body: body('NAME'),"
        " headers: {'Content-Type': 'text/plain; application/json'}})"
    ),
    "fetch of JSON": (
        "fetch(UI + '/graphql', {method: 'POST', credentials: 'include', body: body('NAME'),"
        " headers: {'Content-Type': 'application/json'}})"
    ),
    "beacon": "navigator.sendBeacon(UI + '/graphql', body('NAME'))",
    "websocket": (
        "socket(UI.replace('https', 'wss') + '/graphql',"
        " JSON.stringify({id: '1', type: 'start', payload: {query: mutation('NAME')}}))"
    ),
    "page without an origin": (
        "tag('iframe', {sandbox: 'allow-scripts allow-forms', srcdoc:"
        " `<form method=POST enctype=text/plain action='${UI}/graphql'>"
        "<input name='${body('NAME').slice(0, -1)},\"x\":\"' value='\"}'></form>"
        "<script>document.forms[0].submit()</script>`}).then(() => pause(0.3))"
    ),
}

OWN = """
const outcomes = {};
const sent = await fetch('/graphql', {
  method: 'POST', headers: {'content-type': 'application/json; charset=UTF-8'}, body: body('own')
});
outcomes.mutation = sent.status;
const query = 'subscription{capturedLogs(logKey:["x"]){cursor}}';
const start = JSON.stringify({id: '1', type: 'start', payload: {query}});
outcomes.socket = await within(10, socket(location.origin.replace('https', 'wss') + '/graphql', start));
const report = {method: 'POST', headers: {'content-type': 'application/json'}, body: '{"metadata": {}}'};
outcomes.report = (await fetch('/report_asset_observation/seen_in_a_browser', report)).status;
outcomes.files = (await fetch('/files/none')).status;
outcomes.metrics = (await fetch('/metrics')).status;
"""


class Hostile(BaseHTTPRequestHandler):
    """A page with nothing on it; what it does, the test says."""

    def do_GET(self) -> None:
        page = b"<!doctype html><body>win a prize</body>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def ui(server: Server) -> str:
    return f"https://localhost:{server.parts.server.proxy_port}"


@pytest.fixture(scope="module")
def browser(attacked_server: Server) -> Iterator[Browser]:
    """A browser whose user has logged in as operator."""
    password = attacked_server.parts.server.operator_password.get_secret_value()
    with browser_open() as opened:
        opened.open(ui(attacked_server).replace("https://", f"https://operator:{password}@") + "/")
        yield opened


def pools(server: Server) -> set[str]:
    """Pools whose limit somebody has set."""
    limits = json.loads(in_proxy(server, "operator", "/graphql", POOLS)[1])["data"]["instance"]["concurrencyLimits"]
    return {limit["concurrencyKey"] for limit in limits}


def attacked(browser: Browser, server: Server, page: str, mark: str) -> set[str]:
    """The attacks that changed something, all tried from one page."""
    browser.open(page)
    names = {f"{mark}{number}": name for number, name in enumerate(ATTACKS)}
    tried = ",\n".join(f"within(4, {ATTACKS[name].replace('NAME', pool)})" for pool, name in names.items())
    browser.run(f"(async () => {{ const UI = {json.dumps(ui(server))};{SCRIPT} await Promise.all([{tried}]); }})()")
    return {name for pool, name in names.items() if pool in pools(server)}


def test_foreign_pages(browser: Browser, attacked_server: Server) -> None:
    """Pages of other sites send mutations with the operator's login: forms, images, scripts, fetch, websockets."""
    with answering(Hostile) as page:
        assert attacked(browser, attacked_server, page + "/", "foreign") == set()


def test_pages_of_the_s3_address(browser: Browser, attacked_server: Server) -> None:
    """A page that an uploader put into S3 sends them: the same host, so the same site, and another port."""
    settings = attacked_server.parts.server
    owner = settings.s3_access
    s3 = client(owner, owner.endpoint)
    page = {"Bucket": "lab-artifacts", "Key": "page.html"}
    s3.put_object(**page, Body=b"<!doctype html><body>a page</body>", ContentType="text/html")
    link = client(owner, owner.public_endpoint).generate_presigned_url("get_object", Params=page)
    assert attacked(browser, attacked_server, link, "from_s3_") == set()
    s3.delete_object(**page)


def test_a_page_in_a_frame(browser: Browser, attacked_server: Server) -> None:
    """Another site shows the UI in a frame, to be clicked on unseen."""
    with answering(Hostile) as page:
        browser.open(page + "/")
        script = f"const UI = {json.dumps(ui(attacked_server))};{SCRIPT}"
        browser.run(f"(async () => {{ {script} await within(4, tag('iframe', {{src: UI + '/'}})); }})()")
        frames = [one for one in browser.call("Target.getTargets")["targetInfos"] if one["type"] == "iframe"]
        assert len(frames) == 1
        assert browser.run_in(frames[0]["targetId"], "location.href") == "chrome-error://chromewebdata/"


def test_the_ui_goes_on_working(browser: Browser, attacked_server: Server) -> None:
    """The UI's own page: mutations, websocket, REST endpoints and files work as before."""
    browser.open(ui(attacked_server) + "/")
    script = f"(async () => {{{SCRIPT}{OWN} return outcomes; }})()"
    output = browser.run(script)
    assert output == {"mutation": 200, "socket": "answered", "report": 200, "files": 404, "metrics": 200}
    assert "own" in pools(attacked_server)
    links = "!!document.querySelector('a[href*=\"/assets\"]')"
    wait_for(lambda: browser.run(links))
