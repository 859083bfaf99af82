"""The environment service: what a user writes, fetches and builds takes no secret out and no code in."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from made_api import command, served
from made_attacked_envs import (
    COMMIT,
    ENV_FILE,
    OF_NETRC,
    OF_THE_FILE,
    PASSWORD,
    SPY,
    Place,
    Recorded,
    encodings,
    made,
    redirecting,
    refused,
    site_rules,
)
from made_envs import made_env, made_lock, made_wheel
from made_git import BACKEND, PYPROJECT
from made_index import Quiet, made_index
from servers import answering


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, uv: Path) -> Iterator[Place]:
    home, git = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("git")
    (home / "production").mkdir()
    (home / "production" / ".env").write_text(ENV_FILE)
    (home / ".netrc").write_text(f"machine 127.0.0.1 login ann password {OF_NETRC}\n")
    (home / "constraints.txt").write_text("tiny==1.0\n")
    (home / "gitconfig").write_text(f"[credential]\n\thelper = !touch {home}/helper-ran; true\n")
    more = {
        "POSTGRES_PASSWORD": PASSWORD,
        "HOME": str(home),
        "UV_CONSTRAINT": str(home / "constraints.txt"),
        "UV_HTTP_RETRIES": "0",
        "UV_COMPILE_BYTECODE": "1",
        "GIT_CONFIG_GLOBAL": str(home / "gitconfig"),
    }
    serving = partial(Recorded, directory=str(git))
    with (
        made_index(tmp_path_factory.mktemp("index")) as index,
        answering(serving) as address,
        redirecting() as (moved, door),
    ):
        index.add("madebackend", "1.0", source=BACKEND)
        (home / "policy.toml").write_text(site_rules(index.url.removesuffix("/simple"), address, moved))
        with served(home, uv, index.url, **more) as api:
            yield Place(home, api, index, git, address, moved, door)


@pytest.fixture
def writer(place: Place) -> Iterator[httpx.Client]:
    with place.api.client() as client:
        yield client


VARIABLE = "${POSTGRES_PASSWORD}"
SPELLED = [
    f"x @ git+https://127.0.0.1:1/{VARIABLE}/z@{COMMIT}",
    f"x @ git+https://{VARIABLE}/z@{COMMIT}",
    f"x @ git+https://127.0.0.1:1/$POSTGRES_PASSWORD/z@{COMMIT}",
    f"x @ git+https://127.0.0.1:1/z@{COMMIT}#subdirectory={VARIABLE}",
    f"x @ git+https://127.0.0.1:1/z@{COMMIT}#egg={VARIABLE}",
    f"x @ git+https://user:{VARIABLE}@127.0.0.1:1/z@{COMMIT}",
    f"x @ git+https://127.0.0.1:1/%24%7BPOSTGRES_PASSWORD%7D/z@{COMMIT}",
    f"x @ git+https://127.0.0.1:1/`env`/z@{COMMIT}",
    f"x @ https://127.0.0.1:1/{VARIABLE}.whl",
    *(
        f"x{text}"
        for text in (f"=={VARIABLE}", f"==={VARIABLE}", f"[{VARIABLE}]", f"; os_name == '{VARIABLE}'", "\\$A")
    ),
]


def test_expanded(place: Place, writer: httpx.Client) -> None:
    """A requirement names a variable of the service, for uv or git to expand."""
    answers = [made(writer, "expanded", wanted) for wanted in SPELLED]
    answers += [made(writer, "expanded", requirements=f"tiny\n{wanted}\n") for wanted in SPELLED]
    answers += [made(writer, "expanded", wanted, backend="conda") for wanted in SPELLED]
    for answer in answers:
        refused(answer, "INVALID_PACKAGES")
    texts = "".join(answer.text for answer in answers) + place.told()
    for form in encodings(PASSWORD):
        assert form not in texts


@pytest.mark.parametrize("secret", [PASSWORD, OF_THE_FILE], ids=["of the environment", "of the .env"])
def test_secrets_in_answers(place: Place, writer: httpx.Client, secret: str) -> None:
    """A known secret comes back in an answer, the audit, the logs or at the command line, in some encoding."""
    answers: list[httpx.Response] = []
    for form in encodings(secret):
        answers += [
            made(writer, "secret", f"x @ git+https://ann:{form}@127.0.0.1:1/z@{COMMIT}"),
            made(writer, "secret", form),
            made(writer, f"secret{form}"),
            made(writer, "secret", conda_file=f"name: {form}\nchannels: [{form!r}]\n", backend="conda"),
            writer.get(f"/nowhere/{quote(form)}"),
            writer.get("/envs/attack/node", headers={"X-Forwarded-For": form}),
            writer.post("/envs/cleanup", json={"idle_hours": 1000}, headers={"X-Forwarded-For": form}),
        ]
    heads = "".join(str(answer.headers.raw) for answer in answers)
    texts = "".join(answer.text for answer in answers) + heads + place.told()
    for form in encodings(secret):
        assert form not in texts, texts[max(0, texts.index(form) - 300) :][:600]


def test_secrets_at_the_command_line(place: Place) -> None:
    """A known secret comes back at the command line, in the message or as JSON."""
    wanted = f"x @ git+https://a:{OF_THE_FILE}@127.0.0.1:1/{quote(PASSWORD)}@{COMMIT}"
    done = cli(dict(place.api.environ), "env", "create", "attack/secret", wanted, "--json")
    assert json.loads(done.stdout)["error"]["code"] == "INVALID_PACKAGES"
    for form in [*encodings(PASSWORD), *encodings(OF_THE_FILE)]:
        assert form not in done.stdout + done.stderr


OTHER_SOURCES = [
    "x @ file:///etc/passwd",
    "x @ /etc/passwd",
    "./x",
    "../x",
    "x.whl",
    f"x @ git+file:///tmp/x@{COMMIT}",
    f"x @ git+ssh://git@host.example/x@{COMMIT}",
    f"x @ git+git://host.example/x@{COMMIT}",
    f"x @ hg+https://host.example/x@{COMMIT}",
    f"x @ git+https://host.example/x@{COMMIT}#subdirectory=../..",
    f"x @ git+https://host.example/x@{COMMIT}#subdirectory=/etc",
    f"x @ git+https://host.example/x@{COMMIT}#subdirectory=a&egg=b",
    f"x @ git+https://host.example/../x@{COMMIT}",
    f"x @ git+https://host.example//x@{COMMIT}",
    f"x @ git+https://host.example/x?a=b@{COMMIT}",
    f"x @ git+https://a:b@host.example/x@{COMMIT}",
    f"x @ git+https://ħost.example/x@{COMMIT}",
    "x @ git+https://host.example/x@main",
    "x --index-url=http://evil.example",
    "x --config-settings=a=b",
    "x\n--index-url http://evil.example",
    "x\r-e .",
    "x\t",
    "--find-links=/tmp",
    "-e .",
]
OPTIONS = ["-r more.txt", "-c other.txt", "-e .", "-f /tmp", "--index-url http://evil.example", "--extra-index-url x"]


def test_other_sources(writer: httpx.Client) -> None:
    """A requirement is an option, a path, a file, a login, another VCS, or leads out of its repository."""
    for wanted in OTHER_SOURCES:
        refused(made(writer, "others", wanted), "INVALID_PACKAGES")
        refused(made(writer, "others", wanted, backend="conda"), "INVALID_PACKAGES", "POLICY_REFUSED")
    for line in [*OPTIONS, *OTHER_SOURCES[:6], "x \\\n--index-url http://evil.example"]:
        refused(made(writer, "others", requirements=f"tiny\n{line}\n"), "INVALID_PACKAGES")
    declared = [
        "channels: ['http://127.0.0.1:1/c']\ndependencies: [x]",
        "channels: ['file:///tmp']\ndependencies: [x]",
        "channels: ['$HOME']\ndependencies: [x]",
        "dependencies: [{pip: ['x @ file:///etc']}]",
        "dependencies: ['x[url=http://127.0.0.1:1/x.conda]']",
        "dependencies: ['http://127.0.0.1:1/linux-64/x-1-0.conda']",
        f"@EXPLICIT\nhttp://127.0.0.1:1/linux-64/x-1-0.conda#{'0' * 64}",
        f"@EXPLICIT\nfile:///tmp/linux-64/$HOME-1-0.conda#{'0' * 64}",
    ]
    for text in declared:
        refused(made(writer, "others", conda_file=text, backend="conda"), "INVALID_PACKAGES", "POLICY_REFUSED")


LOOPBACKS = [
    "127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1",
    "0177.0.0.1", "0.0.0.0", "0", "127.255.255.254", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]",
    "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
]  # fmt: skip
NETWORKS = [
    "169.254.169.254",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "[fe80::1]",
    "[fd00::1]",
    "224.0.0.1",
]


def test_own_addresses(place: Place, writer: httpx.Client) -> None:
    """A git host is an address of the service's own machine or network, in any spelling."""
    for host in [*LOOPBACKS, *NETWORKS]:
        answer = made(writer, "near", f"x @ git+https://{host}:{place.door.port}/z@{COMMIT}")
        assert "private_sources" in refused(answer, "POLICY_REFUSED")
    refused(made(writer, "near", f"x @ git+http://127.0.0.1:{place.door.port}/z@{COMMIT}"), "INVALID_PACKAGES")
    assert place.door.opened == []


def test_redirect(place: Place, writer: httpx.Client) -> None:
    """A git host that may be asked sends git on to an address that may not."""
    answer = made(writer, "redirect", f"x @ git+{place.elsewhere}/z@{COMMIT}")
    assert answer.json()["error"]["code"] == "INDEX_UNREACHABLE", answer.text
    assert place.door.opened == []


def test_index_on_this_machine(place: Place) -> None:
    """The index that the service is configured with is an address of this machine that nobody listed."""
    rules = place.home / "other-policy.toml"
    rules.write_text(site_rules())
    done = cli({**place.api.environ, "EGOWORLD_POLICY": str(rules)}, "env", "create", "attack/index", "tiny", "--json")
    assert json.loads(done.stdout)["error"]["details"]["rule"] == "private_sources"


def test_index_that_leads_elsewhere(place: Place, writer: httpx.Client, tmp_path: Path) -> None:
    """A page of the index leads to a file at an address of this machine that nobody listed."""
    wheel = made_wheel(tmp_path, "lured", "1.0", {"lured.py": ""})
    with answering(partial(Quiet, directory=str(tmp_path))) as other:
        place.page("lured", f"{other}/{wheel.name}")
        assert "private_sources" in refused(made(writer, "lured", "lured"), "POLICY_REFUSED")


def test_nothing_of_the_user_reaches_the_resolver(place: Place, writer: httpx.Client) -> None:
    """UV_CONSTRAINT, ~/.netrc, a global gitconfig or a credential helper of the service's user takes part."""
    answer = made(writer, "user", "tiny", place.repository("plain", {"pyproject.toml": PYPROJECT, "setup.py": ""}))
    assert answer.status_code == 201, answer.text
    assert answer.json()["locked_versions"]["tiny"] == "2.0"
    assert Recorded.logins == []
    assert not (place.home / "helper-ran").exists()
    assert OF_NETRC not in place.told()


def test_setup_py(place: Place, writer: httpx.Client, tmp_path: Path) -> None:
    """The setup.py of a git dependency runs as the service's user: reads its files, its secrets, its network."""
    marker = Path("/tmp") / f"egoworld-attack-{os.getpid()}"
    wanted = [str(place.home / "production" / ".env"), str(place.home / "env_tokens.json"), "/proc/1/environ"]
    spy = SPY.format(wanted=wanted, port=place.door.port, marker=str(marker))
    answer = made(writer, "setup", place.repository("spy", {"pyproject.toml": PYPROJECT, "setup.py": spy}))
    assert answer.status_code == 201, answer.text
    ran = writer.post("/envs/attack/setup/run", json={"code": "import gitted, json; print(json.dumps(gitted.SAID))"})
    output = json.loads(ran.json()["stdout"])
    assert not marker.exists()
    assert place.door.opened == []
    assert output["network"] != "open"
    assert not {"POSTGRES_PASSWORD", "UV_CACHE_DIR", "DATABASE_URL"} & output["environ"].keys()
    assert OF_THE_FILE not in str(output)
    assert "ego_" not in str(output)
    assert "root:" not in output[wanted[2]]


def test_what_a_repository_brings(place: Place, writer: httpx.Client) -> None:
    """A repository brings filters, submodules, links out of itself or a backend that nobody allowed."""
    env_file = str(place.home / "production" / ".env")
    tricks = {
        ".gitattributes": "* filter=evil diff=evil merge=evil\n*.py export-subst\n",
        ".gitmodules": f'[submodule "x"]\n\tpath = x\n\turl = http://127.0.0.1:{place.door.port}/x\n',
        ".gitconfig": f'[filter "evil"]\n\tsmudge = touch {place.home}/filter-ran\n',
        ".lfsconfig": f"[lfs]\n\turl = http://127.0.0.1:{place.door.port}/lfs\n",
        "pyproject.toml": PYPROJECT,
        "setup.py": "",
    }
    assert made(writer, "tricks", place.repository("tricks", tricks)).status_code == 201
    linked = place.repository("linked", {"setup.py": ""}, {"pyproject.toml": env_file})
    refused(made(writer, "linked", linked), "INVALID_PACKAGES", "BUILD_FAILED")
    inner = '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
    own = place.repository("own", {"pyproject.toml": inner, "own.py": "raise SystemExit(7)"})
    assert "builds.backends" in refused(made(writer, "own", own), "POLICY_REFUSED")
    legacy = place.repository("legacy", {"setup.py": "raise SystemExit(7)"})
    assert "setuptools.build_meta" in refused(made(writer, "legacy", legacy), "POLICY_REFUSED")
    address = PYPROJECT.replace('"madebackend"]', f'"x @ http://127.0.0.1:{place.door.port}/x.whl"]')
    asks = place.repository("asks", {"pyproject.toml": address, "setup.py": ""})
    refused(made(writer, "asks", asks), "BUILD_FAILED", "INVALID_PACKAGES")
    assert place.door.opened == []
    assert not (place.home / "filter-ran").exists()
    assert OF_THE_FILE not in place.told()


def test_one_git_dependency_builds_nothing_else(place: Place, writer: httpx.Client, tmp_path: Path) -> None:
    """Beside a git dependency, a package that exists only as source is built, outside the sandbox."""
    marker = tmp_path / "built"
    (tmp_path / "sourced-1.0").mkdir()
    (tmp_path / "sourced-1.0" / "setup.py").write_text(f"open({str(marker)!r}, 'w')\n")
    (tmp_path / "sourced-1.0" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: sourced\nVersion: 1.0\n")
    with tarfile.open(place.index.folder / "files" / "sourced-1.0.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "sourced-1.0", "sourced-1.0")
    place.page("sourced", "/files/sourced-1.0.tar.gz")
    git = place.repository("beside", {"pyproject.toml": PYPROJECT, "setup.py": ""})
    refused(made(writer, "beside", git, "sourced"), "PACKAGE_RESOLUTION_FAILED", "POLICY_REFUSED")
    assert not marker.exists()


def test_code_at_the_installation(place: Place, writer: httpx.Client, tmp_path: Path) -> None:
    """A wheel's .pth, sitecustomize or module runs while it is installed, compiled, verified or asked for licences."""
    marker = tmp_path / "ran"
    marker.parent.chmod(0o777)
    code = f"open({str(marker)!r}, 'w')"
    modules = {"trap.pth": f"import os; {code}\n", "sitecustomize.py": code, "usercustomize.py": code, "trap.py": code}
    wheel = made_wheel(place.index.folder / "files", "trap", "1.0", modules)
    place.page("trap", f"/files/{wheel.name}")
    answer = made(writer, "trap", "trap")
    assert answer.status_code == 201, answer.text
    assert writer.post("/envs/attack/trap/deps", json={"packages": ["tiny"]}).status_code == 200
    for call in ("verify", "licences", "export", "disk", "deps"):
        assert writer.get(f"/envs/attack/trap/{call}").status_code == 200
    assert writer.post("/envs/attack/trap/sync").status_code == 200
    assert not marker.exists()
    compiled = list(Path(answer.json()["env_path"]).glob("current/lib/*/site-packages/__pycache__/trap.*.pyc"))
    assert [int.from_bytes(file.read_bytes()[4:8], "little") for file in compiled] == [0b11], "checked by its source"


def test_files_of_the_service(place: Place, writer: httpx.Client) -> None:
    """Another user of the machine reads the audit, the logs or the declarations."""
    assert made(writer, "files", "tiny").status_code == 201
    private = [
        *place.home.glob("env_operations.sqlite*"),
        place.home / "env_tokens.json",
        place.home / "workflow_envs",
        place.home / "workflow_envs" / ".logs",
        *(place.home / "workflow_envs" / ".logs").glob("*"),
        *(place.home / "workflow_envs" / "attack_files" / "current" / name for name in ("pyproject.toml", "uv.lock")),
    ]
    open_to_all = {str(file) for file in private if stat.S_IMODE(file.stat().st_mode) & 0o077}
    assert open_to_all <= {str(file) for file in private if file.name.endswith(".lock")}
    assert len(private) > 6


def test_a_version_that_the_policy_excludes(writer: httpx.Client) -> None:
    """torch==2.0.0, which no policy allows, gets a bare failure of the resolver."""
    message = refused(made(writer, "torch", "scikit-learn>=1.0", "torch==2.0.0"), "POLICY_REFUSED")
    for part in ("torch>=2.6", "rule constraints", "torch.load runs code", "policy.toml", "torch>=2.0.0"):
        assert part in message


@pytest.mark.parametrize("file", ["pylock.toml", "uv.lock"])
def test_addresses_of_a_lock(place: Place, writer: httpx.Client, file: str) -> None:
    """The address of a wheel in the lock of a workflow's env is changed to another server's."""
    node = f"sealed-{file.partition('.')[0]}"
    answer = made(writer, node, "tiny")
    lock = Path(answer.json()["env_path"]) / "current" / file
    text = lock.read_text()
    changed = re.sub(r"http://127\.0\.0\.1:\d+/files", f"http://127.0.0.1:{place.door.port}/files", text)
    assert changed != text
    lock.write_text(changed)
    for call in (
        writer.post(f"/envs/attack/{node}/sync"),
        writer.post(f"/envs/attack/{node}/deps", json={"packages": ["leaf"]}),
    ):
        assert call.json()["error"]["code"] == "ENV_DAMAGED", call.text
    assert place.door.opened == []
    assert writer.put(f"/envs/attack/{node}", json={}).status_code == 200


def test_addresses_of_a_model_envs_lock(place: Place, uv: Path, tmp_path: Path) -> None:
    """The address of a wheel in the lock of a model env is changed to another server's."""
    made_env(tmp_path, "red", dependencies=("tiny",))
    lock = made_lock(tmp_path, "red", [made_wheel(tmp_path / "wheels", "tiny", "1.0", {"tiny.py": ""})])
    lock.write_text(lock.read_text().replace(str(tmp_path / "wheels"), f"http://127.0.0.1:{place.door.port}"))
    environ = {"PATH": f"{uv.parent}:{os.environ['PATH']}", "UV_CACHE_DIR": str(tmp_path / "cache")}
    words = [sys.executable, "-m", "egoworld_resources", "build", "red"]
    done = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "changed by hand" in done.stderr
    assert place.door.opened == []


def cli(environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), env=environ, capture_output=True, text=True, check=False)
