"""A certificate authority of one's own and a server certificate for the loopback names, made by openssl."""
from dataclasses import dataclass
from pathlib import Path

from processes import run


@dataclass
class Certificates:
    ca: Path
    certificate: Path
    key: Path


def make_certificates(directory: Path) -> Certificates:
    directory.mkdir(parents=True, exist_ok=True)
    made = Certificates(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    ca_key = directory / "ca.key"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
        "-subj", "/CN=Loopback test authority", "-addext", "keyUsage=critical,keyCertSign",
        "-keyout", ca_key, "-out", made.ca)
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
        "-CA", made.ca, "-CAkey", ca_key, "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost,DNS:*.localhost,IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE",
        "-keyout", made.key, "-out", made.certificate)
    return made
