"""Manual Generator: a small manual store on SQLite, an example app for `bluegreen.rhai`.

Needs nothing but Python's standard library. Every setting comes from the environment:

PORT            where it listens (default 5000)
DATABASE_PATH   the SQLite file (default instance/manual_generator.db)
APP_VERSION     what it calls itself
DRAIN_SECONDS   how long a stop waits for running requests (default 30)

To see what a deploy does with a bad release, it can be broken on purpose:

HEALTH=500      answers every page with this status
EXIT_AT_START=3 ends at once with this exit code
SLOW_START=2.5  starts listening only after so many seconds
NEVER_READY=1   says 503 on /api/v1/ready for ever
SICK_START=2    is healthy, except when this version is started for the second time
"""

import html
import json
import os
import signal
import socketserver
import sqlite3
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PORT = int(os.environ.get("PORT", "5000"))
DATABASE = os.environ.get("DATABASE_PATH", "instance/manual_generator.db")
VERSION = os.environ.get("APP_VERSION", "dev")
DRAIN_SECONDS = float(os.environ.get("DRAIN_SECONDS", "30"))
HEALTH = int(os.environ.get("HEALTH", "200"))
SCHEMA = "CREATE TABLE IF NOT EXISTS manuals (id INTEGER PRIMARY KEY, title TEXT NOT NULL, body TEXT NOT NULL DEFAULT '')"

shutting_down = threading.Event()


def log(text):
    print(f"manual-generator {VERSION}: {text}", flush=True)


def connect():
    database = sqlite3.connect(DATABASE, timeout=10)
    database.execute("PRAGMA journal_mode = WAL")
    return database


def manuals():
    database = connect()
    try:
        return [{"id": key, "title": title} for key, title in database.execute("SELECT id, title FROM manuals ORDER BY id")]
    finally:
        database.close()


def add_manual(title, body):
    database = connect()
    try:
        with database:
            return database.execute("INSERT INTO manuals (title, body) VALUES (?, ?)", (title, body)).lastrowid
    finally:
        database.close()


def starts_of_this_version():
    """Returns how often this version was started with this database folder, including this time."""
    path = os.path.join(os.path.dirname(DATABASE) or ".", f"starts-{VERSION}")
    with open(path, "a+", encoding="ascii") as record:
        record.write("x")
        return record.tell()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True
    health = HEALTH

    def __init__(self, address):
        self.running = 0
        self.changed = threading.Condition()
        super().__init__(address, Handler)

    def server_bind(self):
        # The standard implementation looks up the machine's own name, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def process_request(self, request, client_address):
        with self.changed:
            self.running += 1
        super().process_request(request, client_address)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self.changed:
                self.running -= 1
                self.changed.notify_all()

    def idle(self, seconds):
        """Waits until no request is running; returns whether that happened in time."""
        with self.changed:
            return self.changed.wait_for(lambda: self.running == 0, seconds)

    def drain(self):
        """Stops listening once no request is running, or after DRAIN_SECONDS."""
        shutting_down.wait()
        log("shutting down, waiting for running requests")
        log("all requests done" if self.idle(DRAIN_SECONDS) else "requests still running, giving up on them")
        self.shutdown()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/api/v1/ready":
            ready = not shutting_down.is_set() and os.environ.get("NEVER_READY") != "1"
            self.answer_json(200 if ready else 503, {"status": "ready" if ready else "shutting down", "version": VERSION})
        elif self.server.health != 200:
            self.answer_json(self.server.health, {"status": "broken", "version": VERSION})
        elif url.path in ("/health", "/api/v1/health"):
            self.answer_json(200, {"status": "ok", "version": VERSION, "manuals": len(manuals())})
        elif url.path == "/api/manuals":
            self.answer_json(200, manuals())
        elif url.path == "/slow":
            # A slow request, which a graceful stop must not cut off.
            time.sleep(float(parse_qs(url.query).get("seconds", ["1"])[0]))
            self.answer_json(200, {"status": "done", "version": VERSION})
        elif url.path == "/":
            rows = "".join(f"<li>{html.escape(manual['title'])}</li>" for manual in manuals())
            page = f"<!doctype html><title>Manuals</title><h1>Manuals</h1><ul>{rows}</ul><footer>version {VERSION}</footer>"
            self.answer(200, "text/html; charset=utf-8", page)
        else:
            self.answer_json(404, {"error": f"no page {url.path}"})

    def do_POST(self):
        if urlsplit(self.path).path != "/api/manuals":
            self.answer_json(404, {"error": "no such page"})
            return
        try:
            manual = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
            title = manual["title"]
        except (ValueError, KeyError, TypeError):
            self.answer_json(400, {"error": "a manual is a JSON object with a title"})
            return
        self.answer_json(201, {"id": add_manual(title, manual.get("body", ""))})

    def answer_json(self, status, value):
        self.answer(status, "application/json", json.dumps(value))

    def answer(self, status, content_type, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Version", VERSION)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        if os.environ.get("LOG_LEVEL") == "debug":
            log(format % args)


def main():
    if "EXIT_AT_START" in os.environ:
        log("cannot start: EXIT_AT_START is set")
        sys.exit(int(os.environ["EXIT_AT_START"]))
    signal.signal(signal.SIGTERM, lambda *_: shutting_down.set())
    signal.signal(signal.SIGINT, lambda *_: shutting_down.set())
    time.sleep(float(os.environ.get("SLOW_START", "0")))
    os.makedirs(os.path.dirname(DATABASE) or ".", exist_ok=True)
    database = connect()
    database.execute(SCHEMA)
    database.close()
    if "SICK_START" in os.environ and starts_of_this_version() == int(os.environ["SICK_START"]):
        Server.health = 500
    server = Server(("0.0.0.0", PORT))
    threading.Thread(target=server.drain, daemon=True).start()
    log(f"listening on port {PORT}")
    server.serve_forever(poll_interval=0.05)
    # Serves requests that arrived after the last check.
    server.idle(1)
    server.server_close()


if __name__ == "__main__":
    main()
