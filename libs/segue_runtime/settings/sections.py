"""Every setting of Segue, with its type, default and help, in the sections of segue.toml."""

# ruff: noqa: RUF009 - the calls declare dataclass fields; their defaults are immutable

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from segue_runtime.settings.values import (
    Spec,
    choice,
    duration,
    endpoint,
    endpoints,
    file_path,
    number,
    size,
    switch,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

ROLES = ("planner", "renderer", "mixer", "analyzer", "gateway", "conductor")
LISTEN = "Address to listen on: HOST:PORT or unix:PATH; port 0 is any free port."
ADDRESS = "Address at which other processes call it; empty: it runs in the same process."


@dataclass(frozen=True, slots=True)
class JwtSettings:
    """Tokens of an identity provider, signed with RS256, ES256 or EdDSA."""

    issuer: str = text("", "Issuer (iss) of the tokens.")
    audience: str = text("", "Audience (aud) that the tokens name: this server.")
    keys: str = text("", "The issuer's keys (JWKS): a file, or an https address.")
    owner_claim: str = text("sub", "Claim that names the owner.")
    grants_claim: str = text("", "Claim that names the grants, as list or words; empty: compose,watch,analyze.")

    @property
    def is_used(self) -> bool:
        """Whether such tokens are accepted."""
        return bool(self.issuer or self.audience or self.keys)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Settings of the server, in every role."""

    role: str = choice("all", ("all", *ROLES), "Role of this process.")
    token: str = text("", "Bearer token that users must send; empty: none is required (loopback only).", secret=True)
    tokens_file: Path | None = file_path("File of users' tokens: lines of an owner and the SHA-256 of a token.")
    signing_keys: Path | None = file_path(
        "File of keys for signed tokens, one in each line: the first signs, all verify. `segued token` signs."
    )
    max_token_ttl_s: float = duration(
        30 * 86400, "Longest time for which a signed token is valid; others are refused.", minimum_s=1
    )
    jwt: JwtSettings = field(default_factory=JwtSettings)
    tls_cert: Path | None = file_path("Certificate chain (PEM) to serve with.")
    tls_key: Path | None = file_path("Private key (PEM) of that certificate.")
    tls_client_ca: Path | None = file_path("Certificates (PEM) that must have signed callers' certificates.")
    tls_client_owner: str = choice(
        "none", ("none", "subject"),
        "Owner of callers with a certificate and no token: none, or the common name (CN) of its subject.",
    )  # fmt: skip
    insecure: bool = switch("Allow addresses other than loopback without TLS and token; for closed networks only.")
    reflection: bool = switch("Offer grpc.reflection, so that grpcurl can list and describe services.", default=True)
    max_streams: int = number(256, "Concurrent calls on one connection.", minimum=1)
    max_calls: int = number(1000, "Concurrent calls of known callers; more are refused.", minimum=1)
    max_watches: int = number(32, "Open health and reflection streams of one address; more are refused.", minimum=1)
    max_connections: int = number(0, "Open connections; more are closed. 0: the limit of open files, less 128.")
    pre_stop_s: float = duration(0, "Time between NOT_SERVING and the end of listening, for load balancers.")
    drain_s: float = duration(20, "Time for running calls and sections when the process is asked to stop.")

    @property
    def knows_users(self) -> bool:
        """Whether users need credentials."""
        tokens = self.token or self.tokens_file or self.signing_keys or self.jwt.is_used
        return bool(tokens or self.tls_client_owner != "none")


@dataclass(frozen=True, slots=True)
class PeersSettings:
    """Calls from this process to the other roles."""

    tls: bool = switch("Call the other roles with TLS.")
    tls_ca: Path | None = file_path("Certificates (PEM) to trust instead of the system's.")
    tls_cert: Path | None = file_path("Own certificate chain (PEM) to show to the other roles.")
    tls_key: Path | None = file_path("Private key (PEM) of that certificate.")
    keepalive_s: float = duration(
        8, "Silence after which a connection is probed; without an answer in half this time it is closed.",
        minimum_s=0.5,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """What the roles of one mesh share."""

    token_file: Path | None = file_path(
        "File of tokens with which roles call each other, one in each line: the first is sent, all are accepted."
    )


@dataclass(frozen=True, slots=True)
class PlannerSettings:
    """The planner and the language model that it may ask."""

    listen: str = endpoint("127.0.0.1:7301", LISTEN)
    address: str = endpoint("", ADDRESS)
    backend: str = choice("rules", ("rules", "ollama"), "Source of words, form and chords: rules, or a model too.")
    artists: str = choice(
        "read", ("read", "ignore", "refuse"),
        "Names of artists in prompts: read their style, ignore them, or refuse the request.",
    )  # fmt: skip
    ollama_url: str = text("http://127.0.0.1:11434", "Server with Ollama's chat API; it receives the prompts.")
    ollama_model: str = text("llama3.2", "Model on that server.")
    ollama_token: str = text("", "Bearer token to send to that server.", secret=True)
    time_limit_s: float = duration(20, "Time for the model's answer; after it the rules plan alone.", minimum_s=0.05)


@dataclass(frozen=True, slots=True)
class MusicgenSettings:
    """The renderer's backend `musicgen`."""

    model: str = text(
        "", "MusicGen models, separated by commas: folders in either published layout, or names of pulled models."
    )
    device: str = text("auto", "Device: auto, cpu, cuda, cuda:1 or mps.")
    precision: str = choice(
        "auto", ("auto", "fp32", "bf16", "fp16", "int8"), "Precision of the weights; auto: fp32 on the CPU, else bf16."
    )
    cuda_graphs: str = choice(
        "auto", ("auto", "on", "off"), "Record steps as CUDA graphs; auto: use the plain loop where recording fails."
    )
    slots: int = number(0, "Sections to render at once; 0: as many as the memory holds.", maximum=256)
    memory_percent: int = number(
        50, "Share of the device's free memory, after loading the weights, that slots may take.", minimum=1, maximum=90
    )
    threads: int = number(0, "CPU threads; 0: one for each core.", maximum=1024)


@dataclass(frozen=True, slots=True)
class DiffusionSettings:
    """The renderer's backend `diffusion`."""

    model: str = text(
        "",
        "Models of ACE-Step 1.5 or Stable Audio 3, separated by commas: folders in diffusers' layout, or names of "
        "pulled models.",
    )
    device: str = text("auto", "Device: auto, cpu, cuda, cuda:1 or mps.")
    precision: str = choice(
        "auto", ("auto", "fp32", "bf16", "fp16"), "Precision of weights and latents; auto: fp32 on the CPU, else bf16."
    )
    offload: str = choice(
        "none",
        ("none", "parts"),
        "What waits in the CPU's memory: nothing, or the parts of the model that do not work.",
    )
    slots: int = number(
        1,
        "Sections that Stable Audio makes in one pass, if they are equally long; ACE-Step makes one at a time.",
        minimum=1,
        maximum=64,
    )
    steps: int = number(0, "Denoising steps of sections that ask for no number; 0: the model's own.", maximum=200)


@dataclass(frozen=True, slots=True)
class AudiocraftSettings:
    """The renderer's backend `audiocraft`, which needs an environment of its own."""

    model: str = text("", "Models, separated by commas: folders in audiocraft's layout, or names of pulled models.")
    device: str = text("auto", "Device: auto, cpu, cuda or cuda:1.")
    threads: int = number(0, "CPU threads; 0: one for each core.", maximum=1024)


@dataclass(frozen=True, slots=True)
class SketchSettings:
    """The renderer's backend `sketch`."""

    voices: str = text(
        "none",
        "Sampled voices: a pack that `segued voices build` made, as name or file; auto: the newest one, if there is "
        "one; none: all voices are synthesised.",
    )


@dataclass(frozen=True, slots=True)
class RendererSettings:
    """The renderer's process and its backends. Each backend with settings has a section of its own."""

    listen: str = endpoint("127.0.0.1:7302", LISTEN)
    addresses: tuple[str, ...] = endpoints(
        "Addresses at which conductors call renderers, with commas between them; each host behind a name is a renderer "
        "of its own. Empty: it runs in the same process."
    )
    devices: str = text(
        "", "Devices, with a process for each, which join the pool: cuda:all, cuda:0,1 or cpu:2; empty: one process."
    )
    join: tuple[str, ...] = endpoints(
        "Addresses of conductors, with commas between them: the renderer joins their pool at one of them."
    )
    advertise: str = endpoint(
        "", "HOST:PORT at which conductors call a renderer that joins; empty: where it listens, as a conductor sees it."
    )
    backend: str = text(
        "sketch",
        "Backends that render, separated by commas, the default first: sketch (no weights, no GPU), musicgen, "
        "diffusion, audiocraft, or your own as module:factory.",
    )
    memory_bytes: int = size(
        0, "Memory for all loaded models together; models of least use are unloaded to stay below it. 0: no limit."
    )
    step_limit_s: float = duration(
        500,
        "Longest time without news of a running section, as of a step of its model: then the model hangs, and the "
        "process ends with an error. Shorter than conductor.stall_limit, or the section is gone before.",
        minimum_s=0.1,
    )  # fmt: skip
    sketch: SketchSettings = field(default_factory=SketchSettings)
    musicgen: MusicgenSettings = field(default_factory=MusicgenSettings)
    diffusion: DiffusionSettings = field(default_factory=DiffusionSettings)
    audiocraft: AudiocraftSettings = field(default_factory=AudiocraftSettings)


@dataclass(frozen=True, slots=True)
class ModelsSettings:
    """Models that `segued models` manages on this machine."""

    path: Path | None = file_path("Folder of the pulled models; default: models in home.")


@dataclass(frozen=True, slots=True)
class VoicesSettings:
    """Voice packs that `segued voices` manages on this machine."""

    path: Path | None = file_path("Folder of the voice packs; default: voices in home.")


@dataclass(frozen=True, slots=True)
class MixerSettings:
    """The mixer."""

    listen: str = endpoint("127.0.0.1:7303", LISTEN)
    address: str = endpoint("", ADDRESS)


@dataclass(frozen=True, slots=True)
class SeparatorSettings:
    """The analyzer's separator of drums, bass, other and vocals. It needs the extra `separator`."""

    path: Path | None = file_path(
        "ONNX file of a network of the demucs family; empty: recordings have harmonic and percussive stems only."
    )
    sha256: str = text("", "SHA-256 that this file must have, in hex; empty: any.")
    threads: int = number(0, "CPU threads; 0: one for each core.", maximum=1024)
    vocals: bool = switch("Measure the vocals stem in every analysis: it takes as long as a separation.")
    vocals_within: int = number(
        0,
        "Decibels by which the vocals stem may be below a recording that has vocals; 0: reports do not say whether it "
        "has. Measure it for your network and your music.",
        maximum=60,
    )


@dataclass(frozen=True, slots=True)
class AnalyzerSettings:
    """The analyzer."""

    listen: str = endpoint("127.0.0.1:7304", LISTEN)
    address: str = endpoint("", ADDRESS)
    separator: SeparatorSettings = field(default_factory=SeparatorSettings)


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The gateway, which serves clients."""

    listen: str = endpoint("127.0.0.1:7300", LISTEN)
    heartbeat_s: float = duration(10, "Interval of checkpoints on idle streams.", minimum_s=0.05)
    stall_limit_s: float = duration(60, "Longest time that a reader may leave audio unread.", minimum_s=0.1)
    attach_grace_s: float = duration(15, "With disconnect policy CANCEL: time for a caller to reconnect.")


@dataclass(frozen=True, slots=True)
class ConductorSettings:
    """The conductor, which runs compositions."""

    listen: str = endpoint("", "HOST:PORT for health checks of a conductor in its own process; empty: none.")
    count: int = number(
        0, "Compositions that this process runs concurrently; 0: four for each slot of the renderers.", maximum=64
    )
    lease_s: float = duration(15, "Lease of a job; another conductor takes over when it expires.", minimum_s=0.2)
    heartbeat_s: float = duration(5, "Interval at which the lease is renewed.", minimum_s=0.05)
    max_claims: int = number(
        3, "Ends of a process that works on one composition alone, without progress, after which that one fails.",
        minimum=1,
    )  # fmt: skip
    time_limit_s: float = duration(3600, "Working time of a composition that sets no limit.", minimum_s=1)
    patience_s: float = duration(
        600, "Time for which work waits for a role that does not answer; longer than a model's loading.",
        minimum_s=0.1,
    )  # fmt: skip
    stall_limit_s: float = duration(
        600, "Silence of a renderer after which another one gets the section.", minimum_s=0.1
    )


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """The queue of waiting compositions."""

    limit: int = number(64, "Compositions that may wait; more are refused with a retry time.", minimum=1)
    retry_after_s: float = duration(5, "Retry time that a refused caller receives while none can be estimated.")


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The store of compositions, queue and event logs."""

    backend: str = choice(
        "sqlite", ("sqlite", "redis"), "Store: sqlite, a file for one machine, or redis, which many machines share."
    )
    path: Path | None = file_path("Database file of sqlite; default: segue.db in home.")
    url: str = text(
        "",
        "Server of redis: redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss://… or redis+sentinel://…/SERVICE.",
        secret=True,
    )
    retention_s: float = duration(7 * 86400, "Time for which finished compositions and uploads are kept.", minimum_s=1)
    low_water: int = size(
        64 << 20, "Free bytes of the disks of store and artifacts below which new work is refused; 0: no limit."
    )
    takes_bytes: int = size(
        0, "Takes that no composition needs any more are kept while all takes are within this size; 0: none is kept."
    )
    tail_rows: int = number(256, "sqlite: newest log rows of a composition that watchers share in memory.", minimum=1)


@dataclass(frozen=True, slots=True)
class S3Settings:
    """A bucket of S3 or of a compatible store, for `artifacts.backend = s3`."""

    bucket: str = text("", "Bucket of the artifacts; it must exist.")
    endpoint: str = text("", "URL of the store, http://… or https://…; empty: AWS.")
    region: str = text("us-east-1", "Region of the bucket.")
    prefix: str = text("", "Folder of the bucket that holds the artifacts; empty: the whole bucket.")
    path_style: bool = switch("Name the bucket in the path of URLs; false: in the host name, as on AWS.", default=True)
    access_key: str = text(
        "", "Id of the access key; empty: from AWS_ACCESS_KEY_ID, a role or the machine's identity.", secret=True
    )
    secret_key: str = text("", "Secret of the access key.", secret=True)
    session_token: str = text("", "Session token of temporary credentials.", secret=True)
    timeout_s: float = duration(30, "Time for one request.", minimum_s=0.1)
    patience_s: float = duration(120, "Time for which work waits for a store that does not answer.", minimum_s=0.1)


@dataclass(frozen=True, slots=True)
class ArtifactsSettings:
    """The store of audio segments, takes, uploads and finished files."""

    backend: str = choice("folder", ("folder", "s3"), "Where artifacts are: in a folder, or in a bucket.")
    path: Path | None = file_path(
        "Folder; with s3, of growing files and temporary copies only. Default: artifacts in home."
    )
    s3: S3Settings = field(default_factory=S3Settings)


@dataclass(frozen=True, slots=True)
class LimitsSettings:
    """Limits for one caller."""

    tenants_file: Path | None = file_path(
        "Table of tenants (TOML): weight, highest priority and limits of each owner; it is read again when it changes."
    )
    upload_bytes: int = size(1 << 30, "Size of all uploads of one owner together.")
    uploads: int = number(1000, "Uploads of one owner, finished or not.", minimum=1)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Logs, which go to standard error."""

    level: str = choice("info", ("debug", "info", "warning", "error"), "Lowest level that is written.")
    format: str = choice("auto", ("auto", "json", "console"), "Format; auto: console on a terminal, JSON elsewhere.")
    audit_file: Path | None = file_path("File for the audit lines, in JSON; empty: they are in the log.")


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Metrics for Prometheus."""

    listen: str = endpoint("", "HOST:PORT for /metrics; empty: none.")


@dataclass(frozen=True, slots=True)
class FailpointsSettings:
    """Deliberate faults for crash tests."""

    active: str = text(
        "", "NAME=ACTION, separated by `;`; actions: kill, error, pause, sleep(20ms); *3: from the 3rd time on."
    )


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """The commands of segued that call a server."""

    server: str = text("", "Server: HOST:PORT, http://…, https://… or unix:PATH; empty: all roles in this process.")
    token: str = text("", "Bearer token to send to it.", secret=True)
    tls: bool = switch("Use TLS; each of the next three settings implies it.")
    tls_ca: Path | None = file_path("Certificates (PEM) to trust instead of the system's.")
    tls_cert: Path | None = file_path("Own certificate chain (PEM), for a server that requires one.")
    tls_key: Path | None = file_path("Private key (PEM) of that certificate.")


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """`segued bridge`, which measures files for jobs from lists in Redis."""

    url: str = text(
        "", "Redis of the lists: redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss://… or redis+sentinel://…/SERVICE.",
        secret=True,
    )  # fmt: skip
    jobs: str = text("audio_analysis_queue", "List from which jobs are taken.")
    results: str = text("audio_results_queue", "List to which results are pushed.")
    root: Path | None = file_path("Folder of the files that jobs may name; without it, file paths are refused.")
    hosts: str = text("", "Hosts of the URLs that jobs may name, HOST or HOST:PORT with commas; empty: none.")
    http: bool = switch("Allow URLs with http:// too; otherwise only https://.")
    max_bytes: int = size(512 << 20, "Largest file of a job.")
    time_limit_s: float = duration(300, "Time for the download of one file.", minimum_s=0.1)
    stems: bool = switch("Separate each file into stems too: results name their files at the server of client.server.")
    count: int = number(2, "Jobs that this process works on concurrently.", minimum=1, maximum=16)
    lease_s: float = duration(
        30, "Time without a sign of life after which another bridge takes back the jobs of this one.", minimum_s=0.5
    )


def default_home() -> Path:
    """Return the platform's folder for application data."""
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "segue"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "segue"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "segue"


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one process; `origins` has the source of each value that is not a default."""

    home: Path = field(
        default_factory=default_home,
        metadata={"spec": Spec("path", "Folder of store, artifacts and models; default: the platform's data folder.")},
    )
    server: ServerSettings = field(default_factory=ServerSettings)
    peers: PeersSettings = field(default_factory=PeersSettings)
    pool: PoolSettings = field(default_factory=PoolSettings)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    conductor: ConductorSettings = field(default_factory=ConductorSettings)
    planner: PlannerSettings = field(default_factory=PlannerSettings)
    renderer: RendererSettings = field(default_factory=RendererSettings)
    models: ModelsSettings = field(default_factory=ModelsSettings)
    voices: VoicesSettings = field(default_factory=VoicesSettings)
    mixer: MixerSettings = field(default_factory=MixerSettings)
    analyzer: AnalyzerSettings = field(default_factory=AnalyzerSettings)
    queue: QueueSettings = field(default_factory=QueueSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    artifacts: ArtifactsSettings = field(default_factory=ArtifactsSettings)
    limits: LimitsSettings = field(default_factory=LimitsSettings)
    log: LogSettings = field(default_factory=LogSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    failpoints: FailpointsSettings = field(default_factory=FailpointsSettings)
    client: ClientSettings = field(default_factory=ClientSettings)
    bridge: BridgeSettings = field(default_factory=BridgeSettings)
    origins: Mapping[str, str] = field(default_factory=dict[str, str], compare=False, repr=False)

    @property
    def database_path(self) -> Path:
        """The file of the store."""
        return self.store.path or self.home / "segue.db"

    @property
    def artifact_folder(self) -> Path:
        """The folder of the artifact store."""
        return self.artifacts.path or self.home / "artifacts"

    @property
    def model_folder(self) -> Path:
        """The folder of pulled models."""
        return self.models.path or self.home / "models"

    @property
    def voice_folder(self) -> Path:
        """The folder of voice packs."""
        return self.voices.path or self.home / "voices"
