"""A web server that answers at once and has the work done elsewhere, with nothing but the standard library.

    tailrace server &
    tailrace worker examples.web.tasks:worker &
    python -m examples.web 8000 &

    curl -i --data-binary @README.md localhost:8000/counts        # 202, and where to look
    curl 'localhost:8000/counts/ID?wait=10'                        # answers the moment the task is done

What a browser holds is the task's id. Any process of the web server can answer for it, before and after a restart.
"""

import json
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from examples.web.tasks import count_words
from tailrace.client import Client, InvalidRequestError, ServerUnavailableError, TaskNotFoundError, WaitTimeoutError

LONGEST_WAIT_S = 30.0
LARGEST_TEXT_BYTES = 512 * 1024


class Handler(BaseHTTPRequestHandler):
    """One request. The client is shared: it is safe to use from any thread."""

    client: Client

    def do_POST(self) -> None:
        """Submit a task, and say where its result will be."""
        size = int(self.headers.get("Content-Length", 0))
        if self.path != "/counts" or size > LARGEST_TEXT_BYTES:
            self.answer(HTTPStatus.NOT_FOUND if self.path != "/counts" else HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {})
            return
        text = self.rfile.read(size).decode(errors="replace")
        try:
            result = self.client.submit(count_words, text)
        except ServerUnavailableError as error:
            # Whether it was accepted is not known; under this id it can be submitted again, or found.
            self.answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(error), "id": error.task_id})
            return
        self.answer(HTTPStatus.ACCEPTED, {"id": result.id}, location=f"/counts/{result.id}")

    def do_GET(self) -> None:
        """Tell how a task is; with ``?wait=SECONDS`` once it is done, or after that long."""
        url = urlsplit(self.path)
        result = self.client.result(url.path.removeprefix("/counts/"))
        wait = parse_qs(url.query).get("wait", ["0"])[0]
        wait_s = min(float(wait), LONGEST_WAIT_S) if wait.isdecimal() else 0.0
        try:
            state = result.wait(timeout=wait_s)
        except WaitTimeoutError:
            state = result.state
        except (TaskNotFoundError, InvalidRequestError):  # unknown, or no id at all
            self.answer(HTTPStatus.NOT_FOUND, {})
            return
        progress = result.progress
        self.answer(
            HTTPStatus.OK,
            {
                "state": state,
                "line": progress.current if progress else None,
                "counts": result.result if result.successful() else None,
                "error": str(result.result) if result.failed() else None,
            },
        )

    def answer(self, status: HTTPStatus, fields: dict[str, Any], location: str = "") -> None:
        """Write an answer in JSON."""
        body = json.dumps(fields).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (named by the base class)
        """Write nothing."""


def main(port: int) -> None:
    """Serve until interrupted."""
    with Client(call_timeout=5) as client, ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        Handler.client = client
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(130)
