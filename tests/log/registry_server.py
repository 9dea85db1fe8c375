"""A schema registry over HTTP for tests: what Confluent's own in-process one (``mock://``) answers, put on the wire."""

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError


class Registry:
    """``client`` is Confluent's, with the same schemas and ids. ``answer``, if set, is (status, body) for everything;
    ``requests`` are (path, Authorization)."""

    def __init__(self) -> None:
        self.client: Any = SchemaRegistryClient.new_client({"url": "mock://tests"})
        self.user: tuple[str, str] | None = None
        self.answer: tuple[int, bytes] | None = None
        self.location = ""  # where a 3xx answer points
        self.requests: list[tuple[str, str | None]] = []

    def respond(self, path: str, authorization: str | None, body: bytes) -> tuple[int, bytes]:
        self.requests.append((path, authorization))
        if self.answer is not None:
            return self.answer
        if self.user is not None:
            wanted = "Basic " + base64.b64encode(":".join(self.user).encode()).decode()
            if authorization != wanted:
                return 401, _problem(40101, "User cannot access the resource.")
        schema = Schema(json.loads(body)["schema"], "AVRO")
        match [unquote(part) for part in path.strip("/").split("/")]:
            case ["subjects", subject, "versions"]:
                return 200, json.dumps({"id": self.client.register_schema(subject, schema)}).encode()
            case ["subjects", subject]:
                try:
                    found = self.client.lookup_schema(subject, schema)
                except SchemaRegistryError as error:
                    return 404, _problem(40401, str(error))
                whole = {"subject": subject, "version": found.version, "id": found.schema_id}
                return 200, json.dumps(whole).encode()
        return 404, _problem(404, "HTTP 404 Not Found")


def _problem(code: int, message: str) -> bytes:
    return json.dumps({"error_code": code, "message": message}).encode()


@contextmanager
def serving(registry: Registry, certificate: Path | None = None) -> Iterator[str]:
    """Its URL; with a certificate (and its key, in one PEM file) it is https."""

    class Asked(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = registry.respond(self.path, self.headers["Authorization"], body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            if registry.location:
                self.send_header("Location", registry.location)
            self.end_headers()
            self.wfile.write(answer)

        def do_GET(self) -> None:
            registry.requests.append((self.path, self.headers["Authorization"]))
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Asked)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
