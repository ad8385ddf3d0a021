"""moto's S3 server, a third dialect: it accepts wrong secrets and bad checksums, so it never stands alone."""
import subprocess
import sys
from pathlib import Path

from processes import Failure, Processes, free_ports, is_listening

# Beside the build, so that it is made once a checkout.
_VENV = Path(__file__).resolve().parents[2] / ".build" / "test-servers" / "venv"
_REQUIREMENTS = ("moto[server]>=5.0,<6", "boto3>=1.34,<2")


def python_with_moto() -> Path:
    """An interpreter that has moto and boto3: this one, or that of a virtual environment, made when it is missing."""
    probe = "import moto.server, boto3"
    for python in (Path(sys.executable), _VENV / "bin" / "python"):
        if python.exists() and subprocess.run([python, "-c", probe], capture_output=True).returncode == 0:
            return python
    print(f"making {_VENV} with moto", file=sys.stderr, flush=True)
    for command in ([sys.executable, "-m", "venv", _VENV], [_VENV / "bin/pip", "-q", "install", *_REQUIREMENTS]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Failure(f"cannot install moto: {done.stderr.strip()[-300:]}")
    return _VENV / "bin" / "python"


class Moto:
    region = "us-east-1"
    access_key = "kamltestaccess"

    def __init__(self, directory: Path, secret_key: str):
        self.secret_key = secret_key
        (directory / "log").mkdir()
        self.processes = Processes(directory / "log")
        self.port, = free_ports(1)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def details(self) -> dict:
        return {}

    def start(self) -> None:
        self.processes.start("moto", python_with_moto(), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port))
        self.processes.wait_for("moto", "moto", lambda: is_listening(self.port))

    def stop(self) -> None:
        self.processes.stop()
