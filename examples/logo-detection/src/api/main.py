"""Logo Detection API: finds the names of known brands in a text; an example app for `safe_deploy.rhai`.

Needs nothing but Python's standard library. Settings: PORT (default 8000), APP_VERSION, LOG_LEVEL,
MAX_CONCURRENT_DETECTIONS (default 4), CONFIG (a JSON file with the same two in lower case, which the environment
overrides; may be mounted), DRAIN_SECONDS (default 30). Broken on purpose by HEALTH=500, EXIT_AT_START=3, SLOW_START=2.5,
NEVER_READY=1.
"""

import json
import os
import signal
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

ROOT = Path(__file__).resolve().parents[2]
PORT = int(os.environ.get("PORT", "8000"))
VERSION = os.environ.get("APP_VERSION", "dev")
DRAIN_SECONDS = float(os.environ.get("DRAIN_SECONDS", "30"))
HEALTH = int(os.environ.get("HEALTH", "200"))


def settings():
    path = Path(os.environ.get("CONFIG", ROOT / "config/settings.json"))
    values = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {
        "max_concurrent_detections": int(
            os.environ.get("MAX_CONCURRENT_DETECTIONS", values.get("max_concurrent_detections", 4))
        ),
        "log_level": os.environ.get("LOG_LEVEL", values.get("log_level", "info")),
    }


SETTINGS = settings()
LOGOS = json.loads((ROOT / "models/logos.json").read_text(encoding="utf-8"))
shutting_down = threading.Event()
detections = threading.Semaphore(SETTINGS["max_concurrent_detections"])


def log(text):
    print(f"logo-detection {VERSION}: {text}", flush=True)


def detect(text, seconds):
    with detections:
        time.sleep(seconds)
        found = {logo: text.lower().count(logo.lower()) for logo in LOGOS}
        return [{"logo": logo, "count": count} for logo, count in found.items() if count]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

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
        log("received shutdown signal, starting graceful shutdown")
        log("shutdown complete" if self.idle(DRAIN_SECONDS) else "requests still running, giving up on them")
        self.shutdown()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if url.path == "/api/v1/ready":
            ready = not shutting_down.is_set() and os.environ.get("NEVER_READY") != "1"
            self.answer(200 if ready else 503, {"status": "ready" if ready else "server is shutting down"})
        elif HEALTH != 200:
            self.answer(HEALTH, {"status": "broken", "version": VERSION})
        elif url.path in ("/", "/health", "/api/v1/health"):
            self.answer(200, {"status": "healthy", "version": VERSION, "settings": SETTINGS})
        elif url.path == "/api/v1/detect":
            seconds = float(query.get("seconds", ["0"])[0])
            self.answer(200, {"found": detect(query.get("text", [""])[0], seconds), "version": VERSION})
        else:
            self.answer(404, {"error": f"no page {url.path}"})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Version", VERSION)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        if SETTINGS["log_level"] == "debug":
            log(format % args)


def main():
    if "EXIT_AT_START" in os.environ:
        log("cannot start: EXIT_AT_START is set")
        sys.exit(int(os.environ["EXIT_AT_START"]))
    signal.signal(signal.SIGTERM, lambda *_: shutting_down.set())
    signal.signal(signal.SIGINT, lambda *_: shutting_down.set())
    time.sleep(float(os.environ.get("SLOW_START", "0")))
    server = Server(("0.0.0.0", PORT))
    threading.Thread(target=server.drain, daemon=True).start()
    log(f"listening on port {PORT}")
    server.serve_forever(poll_interval=0.05)
    # Serves requests that arrived after the last check.
    server.idle(1)
    server.server_close()


if __name__ == "__main__":
    main()
