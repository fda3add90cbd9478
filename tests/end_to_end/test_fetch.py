"""`mechtui fetch` against a hub of our own on this machine: what is asked for comes, a cut-off download goes on."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.folders import gpt2

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ID = "somebody/tiny"


@dataclass
class Hub:
    """files: name to bytes. cut: names whose first download breaks off in the middle. asked: (method, path, range)."""

    files: dict[str, bytes]
    cut: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    url: str = ""


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            path = self.path.partition("?")[0]
            wanted = self.headers.get("Range", "")
            hub.asked.append((self.command, path, wanted))
            if path.startswith(f"/api/models/{ID}/tree/"):
                tree = [
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in hub.files.items()
                ]
                self.send(json.dumps(tree).encode(), with_body)
                return
            if path.startswith(f"/api/models/{ID}"):
                siblings = [{"rfilename": name, "size": len(data)} for name, data in hub.files.items()]
                self.send(json.dumps({"id": ID, "sha": COMMIT, "siblings": siblings, "tags": []}).encode(), with_body)
                return
            name = path.rpartition("/")[2]
            if not path.startswith(f"/{ID}/resolve/") or name not in hub.files:
                self.send(b"{}", with_body, status=404, extra={"X-Error-Code": "RepoNotFound"})
                return
            data = hub.files[name]
            start = int(wanted.removeprefix("bytes=").partition("-")[0] or 0) if wanted else 0
            extra = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            if start:
                extra["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            part = data[start:]
            if with_body and name in hub.cut:
                hub.cut.remove(name)
                self.head(200, len(part), extra)
                self.wfile.write(part[: len(part) // 2])
                self.close_connection = True
                return
            self.send(part, with_body, status=206 if start else 200, extra=extra)

        def head(self, status: int, length: int, extra: dict[str, str]) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            for name, value in extra.items():
                self.send_header(name, value)
            self.end_headers()

        def send(self, data: bytes, with_body: bool, status: int = 200, extra: dict[str, str] | None = None) -> None:
            self.head(status, len(data), extra or {})
            if with_body:
                self.wfile.write(data)

    return Handler


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = tmp_path / "tiny"
    gpt2(folder)
    made = Hub({path.name: path.read_bytes() for path in folder.iterdir()})
    made.files["training.bin"] = b"not asked for"
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(made))
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()


def mechtui(hub: Hub, home: dict[str, str], tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in home.items() if name != "HF_HUB_OFFLINE"}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, *(arguments if arguments[0] == "-c" else ("-m", "mechtui", *arguments))]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, env=environment)


def test_what_is_fetched_runs_without_the_hub(hub: Hub, home: dict[str, str], tmp_path: Path) -> None:
    done = mechtui(hub, home, tmp_path, "fetch", ID)
    assert done.returncode == 0, done.stderr
    fetched = {path.rpartition("/")[2] for method, path, _ in hub.asked if method == "GET" and "/resolve/" in path}
    assert fetched == hub.files.keys() - {"training.bin"}
    offline = {**home, "HF_HOME": str(tmp_path / "hf")}
    command = [sys.executable, "-m", "mechtui", "run", "--model", ID, "--prompt", "When Mary", "--view", "next_tokens"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, env=offline)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["model"]["n_layers"] == 2


def test_the_size_of_a_download_is_known_before_and_nothing_is_downloaded(
    hub: Hub, home: dict[str, str], tmp_path: Path
) -> None:
    program = f"from mechtui.worker.models.hub import download_size; print(download_size({ID!r}))"
    done = mechtui(hub, home, tmp_path, "-c", program)
    assert done.returncode == 0, done.stderr
    wanted = sum(len(data) for name, data in hub.files.items() if name.endswith((".json", ".safetensors", ".txt")))
    assert int(done.stdout) == wanted > 0
    assert all(path.startswith("/api/") for _, path, _ in hub.asked)


def test_a_connection_that_breaks_is_taken_up_where_it_broke(hub: Hub, home: dict[str, str], tmp_path: Path) -> None:
    # The library keeps what came in pieces of 10 MB.
    hub.files["more.safetensors"] = bytes(range(256)) * 100_000
    hub.cut = {"more.safetensors"}
    done = mechtui(hub, home, tmp_path, "fetch", ID)
    assert done.returncode == 0, done.stderr
    ranges = [wanted for method, path, wanted in hub.asked if method == "GET" and path.endswith("more.safetensors")]
    assert ranges[0] == ""
    assert ranges[1].startswith("bytes=")
    (kept,) = (tmp_path / "hf").rglob("snapshots/*/more.safetensors")
    assert kept.read_bytes() == hub.files["more.safetensors"]


def test_what_is_here_already_is_not_asked_for_again(hub: Hub, home: dict[str, str], tmp_path: Path) -> None:
    assert mechtui(hub, home, tmp_path, "fetch", ID).returncode == 0
    hub.asked.clear()
    assert mechtui(hub, home, tmp_path, "fetch", ID).returncode == 0
    assert not [path for method, path, _ in hub.asked if method == "GET" and "/resolve/" in path]


def test_a_model_that_the_hub_does_not_have(hub: Hub, home: dict[str, str], tmp_path: Path) -> None:
    done = mechtui(hub, home, tmp_path, "fetch", "somebody/else")
    assert done.returncode == 3
    assert "there is no model somebody/else on the hub" in done.stderr


def test_no_network(hub: Hub, home: dict[str, str], tmp_path: Path) -> None:
    hub.url = "http://127.0.0.1:9"
    done = mechtui(hub, home, tmp_path, "fetch", ID)
    assert done.returncode == 3
    assert "cannot be fetched" in done.stderr
    assert "Traceback" not in done.stderr
