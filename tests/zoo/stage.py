"""The stage: a simulated provider, a gateway in front of it, and one more that wants a key. Then everybody plays."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).parent
# Where the packages are: here, or in older/.
PACKAGES = Path.cwd()
BINARY = os.environ["TOKENCAST_BIN"]
NODE = os.environ["NODE"]

PROVIDERS = """
[[providers]]
name = "openai"
dialect = "openai"
base_url = "{provider}/v1"
models = ["gpt-*"]

[[providers]]
name = "anthropic"
dialect = "anthropic"
base_url = "{provider}"
models = ["claude-*"]

[[providers]]
name = "gemini"
dialect = "gemini"
base_url = "{provider}"
models = ["gemini-*"]

[[providers]]
name = "ollama"
dialect = "ollama"
base_url = "{provider}"
models = ["llama*"]
"""

# What apps sign tickets with, by kid. Everybody knows these.
TICKETS = {
    "app": """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH
-----END PRIVATE KEY-----""",
    "shared": "a secret that both sides know, of more than 32 bytes",
}
TICKET_KEYS = """
[[auth.ticket_keys]]
kid = "app"
public_key = "6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw"

[[auth.ticket_keys]]
kid = "shared"
algorithm = "HS256"
secret_env = "ZOO_TICKETS"
"""

# What is meant for some other gateway or provider, or would send these clients through something else.
FOREIGN = ("TOKENCAST_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "OLLAMA_")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait(url, process, log):
    late = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > late:
                sys.exit(f"{url} does not answer: {log.read_text()}")
            time.sleep(0.02)


class Stage:
    def __init__(self, directory):
        self.directory = Path(directory)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
        self.processes = []

    def launch(self, url, name, *arguments):
        """Returns once the process answers at `url`."""
        log = self.directory / f"{name}.log"
        with open(log, "w") as output:
            options = {"stdout": output, "stderr": output, "cwd": self.directory, "env": self.environment}
            process = subprocess.Popen([BINARY, *arguments], **options)
        self.processes.append(process)
        wait(url, process, log)

    def provider(self):
        listen = f"127.0.0.1:{free_port()}"
        self.launch(f"http://{listen}/v1/models", "provider", "simulate", "--listen", listen)
        return f"http://{listen}"

    def gateway(self, name, provider, more=""):
        http, ops = free_port(), free_port()
        config = [
            f'[http]\nlisten = "127.0.0.1:{http}"',
            f'[ops]\nlisten = "127.0.0.1:{ops}"',
            "[webtransport]\nenabled = false",
            f'[journal]\npath = "{name}/tokencast.db"\ndurability = "process"',
            '[ai_sdk]\nmodel = "gpt-chat"',
            more,
            PROVIDERS.format(provider=provider),
        ]
        (self.directory / f"{name}.toml").write_text("\n\n".join(config))
        self.launch(f"http://127.0.0.1:{ops}/readyz", name, "serve", "--config", f"{name}.toml")
        return f"http://127.0.0.1:{http}"

    def strike(self):
        for process in self.processes:
            process.kill()
            process.wait()
        logs = [path.read_text() for path in self.directory.glob("*.log")]
        return [line for log in logs for line in log.splitlines() if "panicked" in line]


def plays(words):
    """The commands that run the tests whose files have one of these words in their names."""

    def chosen(pattern):
        return [path for path in sorted(HERE.glob(pattern)) if not words or any(word in path.name for word in words)]

    if python := chosen("python/test_*.py"):
        # Most of their time they wait: a process each, as node does it.
        for path in python:
            yield [sys.executable, "-W", "ignore::ResourceWarning", "-m", "unittest", "-q", path.stem], HERE / "python"
    if js := chosen("js/*.test.mjs"):
        options = ["--test", "--test-concurrency=4", "--test-timeout=120000", "--test-reporter=spec"]
        # Node looks for packages beside the file.
        if PACKAGES != HERE:
            shutil.copytree(HERE / "js", PACKAGES / "js", dirs_exist_ok=True)
        yield [NODE, *options, *(str(PACKAGES / "js" / path.name) for path in js)], PACKAGES


def main():
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tokencast-zoo-") as directory:
        stage = Stage(directory)
        key = "tck_" + secrets.token_hex(32)
        auth = f'[[auth.keys]]\nname = "zoo"\nsha256 = "{sha256(key.encode()).hexdigest()}"'
        stage.environment["ZOO_TICKETS"] = TICKETS["shared"]
        try:
            provider = stage.provider()
            where = {
                "PROVIDER": provider,
                "GATEWAY": stage.gateway("gateway", provider),
                "LOCKED": stage.gateway("locked", provider, auth + TICKET_KEYS),
                "KEY": key,
                "TICKETS": TICKETS,
                "OLDER": PACKAGES != HERE,
            }
            environment = stage.environment | {"ZOO": json.dumps(where), "NODE": NODE, "PYTHONDONTWRITEBYTECODE": "1"}
            running = []
            for number, (command, cwd) in enumerate(plays(sys.argv[1:])):
                output = open(stage.directory / f"play-{number}.txt", "w+")
                process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT)
                running.append((command, process, output))
            if not running:
                sys.exit("no file has such a name")
            failed = []
            for command, process, output in running:
                if process.wait() != 0:
                    failed.append(Path(command[-1]).parent.name or command[-1])
                output.seek(0)
                print(
                    f"{Path(command[0]).name} {' '.join(Path(word).name for word in command[1:])}",
                    output.read().strip(),
                    sep="\n",
                )
        finally:
            panics = stage.strike()
        print(*panics, f"{time.monotonic() - began:.0f} s", sep="\n")
        if failed or panics:
            sys.exit(f"failed: {', '.join(failed) or 'panicked'}")
        print("all is well")


if __name__ == "__main__":
    main()
