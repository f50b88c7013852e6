//! The command line.

// clap takes the help from these comments, and it is not Markdown.
#![allow(clippy::doc_markdown)]

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};
use segue_client::proto::segue::{
    analyzer::v1::SeparatorKind,
    audio::v1::FileFormat,
    music::v1::{Key, LayerKind, Metre, Role},
};

use self::{
    edits::EditArgs,
    options::{CompositionOptions, FileOptions, FollowOptions, MasterOptions, PlaybackOptions},
};
use crate::values;

pub mod edits;
pub mod options;
pub mod parse;

const EXIT_CODES: &str = "Exit codes: 0 done, 1 the composition or the work failed, 2 wrong usage, 3 the server cannot be \
    reached, 4 refused by the server, 5 the server is busy, 130 interrupted, 128 + n ended by signal n.";

const EDITING: &str = "A SECTION is a number, as `segue get NAME` counts the sections, or a name such as chorus-2. The \
    flags of the changes may be repeated and are applied in their order. Numbers always count the sections of the original \
    piece. Sections that no flag names keep their audio. Without any change, the same music is written to another file, for \
    example with --format or --preset.";

/// Make music from a terminal with a Segue service
#[derive(Parser)]
#[command(name = "segue", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Args {
    #[command(flatten)]
    pub common: CommonOptions,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub struct CommonOptions {
    /// Server: HOST:PORT, http://…, https://… or unix:PATH [env: SEGUE_CLIENT_SERVER] [default: 127.0.0.1:7300]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub server: Option<String>,
    /// File with the bearer token to send; `-` reads standard input [env: SEGUE_CLIENT_TOKEN holds the token itself]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Use TLS [env: SEGUE_CLIENT_TLS] [default: for every server except this machine]
    #[arg(long, global = true)]
    pub tls: bool,
    /// Certificates (PEM) to trust instead of the system's [env: SEGUE_CLIENT_TLS_CA]
    #[arg(long, global = true, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Client certificate (PEM), for a server that requires one [env: SEGUE_CLIENT_TLS_CERT]
    #[arg(long, global = true, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the client certificate [env: SEGUE_CLIENT_TLS_KEY]
    #[arg(long, global = true, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Write JSON to standard output, one object a line
    #[arg(long, global = true)]
    pub json: bool,
    /// Use colours: auto, always or never
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    pub color: ColorArg,
    /// Print nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print more, for example that events of a newer server were skipped
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorArg {
    Auto,
    Always,
    Never,
}

#[derive(Subcommand)]
pub enum Command {
    /// Compose a piece and write it to a file
    Compose(Box<ComposeArgs>),
    /// Change sections of a finished piece; all others keep their audio
    Edit(Box<EditCommandArgs>),
    /// Make a failed or cancelled composition again; finished sections keep their audio
    Retry(RetryArgs),
    /// Follow compositions, running or finished
    Watch(WatchArgs),
    /// Plan a piece without making it; the JSON can be edited and given to `compose --plan`
    Plan(Box<PlanArgs>),
    /// List compositions, uploads, analyses or separations, newest first
    List(ListArgs),
    /// Show a composition
    Get {
        /// Name, for example compositions/9f2c… or only the first letters, 9f2c
        name: String,
    },
    /// Cancel compositions, analyses or separations; finished files of compositions can still be downloaded
    Cancel {
        /// Names of compositions, or of analyses and separations as `list` has them
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Delete finished compositions or separations with all their files, or uploads
    Delete {
        /// Names of compositions, or of separations and uploads as `list` has them
        #[arg(required = true)]
        names: Vec<String>,
        /// Delete without asking
        #[arg(short, long)]
        yes: bool,
    },
    /// Download the files of a composition
    Download(DownloadArgs),
    /// Measure audio files
    Analyze(AnalyzeArgs),
    /// Master an audio file: loudness, true peak and tone
    Master(MasterArgs),
    /// Separate an audio file into stems, which add up to it
    Separate(SeparateArgs),
    /// List the models that can play
    Models,
    /// Show what you have used, by day in UTC
    Usage(UsageArgs),
    /// Show the load of the service
    Stats,
    /// Find out why a server cannot be reached
    Doctor,
    /// Print the completions for a shell
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
}

#[derive(clap::Args)]
pub struct UsageArgs {
    /// Show another owner; needs the grant admin
    #[arg(long, value_name = "OWNER", default_value = "", hide_default_value = true, conflicts_with = "all")]
    pub owner: String,
    /// Show all owners; needs the grant admin
    #[arg(long)]
    pub all: bool,
    /// First day, as 2026-11-30 [default: 29 days before the last]
    #[arg(long, value_name = "DAY", default_value = "", hide_default_value = true)]
    pub first_day: String,
    /// Last day [default: today]
    #[arg(long, value_name = "DAY", default_value = "", hide_default_value = true)]
    pub last_day: String,
}

#[derive(clap::Args)]
pub struct ComposeArgs {
    #[command(flatten)]
    pub brief: BriefArgs,
    #[command(flatten)]
    pub options: CompositionOptions,
}

#[derive(clap::Args)]
#[command(after_help = EDITING)]
pub struct EditCommandArgs {
    /// Piece to edit, for example compositions/9f2c… or only the first letters, 9f2c; it does not change
    pub name: String,
    #[command(flatten)]
    pub edits: EditArgs,
    /// Keep the mastering of the original except near a change; the loudness is not adjusted
    #[arg(long, conflicts_with_all = ["preset", "lufs", "ceiling"], help_heading = "Changes")]
    pub frozen: bool,
    #[command(flatten)]
    pub options: CompositionOptions,
}

#[derive(clap::Args)]
pub struct BriefArgs {
    /// What to compose, for example "rainy lo-fi, 82 bpm, F minor"
    #[arg(required_unless_present = "plan")]
    pub prompt: Option<String>,
    /// Plan in JSON, whole or partial; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Length, for example 75, 20s, 2m or 1m20s
    #[arg(short, long, value_name = "TIME", value_parser = parse::duration)]
    pub duration: Option<Duration>,
    /// Beats per minute; the beat is the dotted quarter in 6/8, 9/8 and 12/8, else the quarter
    #[arg(long, value_name = "BEATS")]
    pub bpm: Option<f64>,
    /// Key, for example "F minor", Bb or "D dorian"
    #[arg(long, value_parser = values::parse_key)]
    pub key: Option<Key>,
    /// Time signature, for example 3/4
    #[arg(long, value_parser = values::parse_metre)]
    pub metre: Option<Metre>,
    /// Genre; an unknown one lists the known ones
    #[arg(long, default_value = "", hide_default_value = true)]
    pub genre: String,
    /// Sections in order, for example intro,verse,chorus,outro
    #[arg(long, value_name = "ROLES", value_delimiter = ',', value_parser = values::parse_role)]
    pub form: Vec<Role>,
    /// Layers that must play, for example rhythm,bass
    #[arg(long, value_name = "LAYERS", value_delimiter = ',', value_parser = values::parse_layer)]
    pub with: Vec<LayerKind>,
    /// Layers that must not play
    #[arg(long, value_name = "LAYERS", value_delimiter = ',', value_parser = values::parse_layer)]
    pub without: Vec<LayerKind>,
    /// Instruments that must be heard, for example cello,piano
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub instrument: Vec<String>,
    /// What must not be heard
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub negative_prompt: String,
    /// Words to sing, as text with marks such as [verse] and [chorus]; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub lyrics: Option<PathBuf>,
    /// Language of the words, for example en or pt-BR
    #[arg(long, value_name = "TAG", default_value = "", hide_default_value = true, requires = "lyrics")]
    pub lyrics_language: String,
    /// Seed; the same seed gives the same piece
    #[arg(long)]
    pub seed: Option<u32>,
    /// Title; the default is made from the prompt
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub title: String,
    /// Make a piece that ends where it begins
    #[arg(long = "loop")]
    pub is_loop: bool,
    /// Model, one of those that `models` lists
    #[arg(long, default_value = "", hide_default_value = true)]
    pub model: String,
}

#[derive(clap::Args)]
pub struct RetryArgs {
    /// Piece to make again, for example compositions/9f2c… or only the first letters, 9f2c; it does not change
    pub name: String,
    /// File to write, in the format that the piece was asked for; `-` writes WAV to standard output [default: none]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Leave the composition running after Ctrl-C instead of cancelling it
    #[arg(long)]
    pub detach: bool,
    #[command(flatten)]
    pub playback: PlaybackOptions,
    #[command(flatten)]
    pub follow: FollowOptions,
}

#[derive(clap::Args)]
pub struct WatchArgs {
    /// Names, for example compositions/9f2c… or only the first letters, 9f2c
    #[arg(required = true)]
    pub names: Vec<String>,
    /// File to write; `-` writes WAV to standard output [default: none]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub playback: PlaybackOptions,
    #[command(flatten)]
    pub follow: FollowOptions,
}

#[derive(clap::Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub brief: BriefArgs,
    /// File for the plan in JSON; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace existing files
    #[arg(short, long)]
    pub force: bool,
}

#[derive(clap::Args)]
pub struct ListArgs {
    /// What to list: compositions, uploads, analyses, separations
    #[arg(default_value = "compositions", hide_possible_values = true)]
    pub what: ListArg,
    /// Terms joined by AND, for example 'state = "SUCCEEDED"'; of uploads only the owner
    #[arg(long, default_value = "", hide_default_value = true)]
    pub filter: String,
    /// Largest number of lines
    #[arg(short = 'n', long, default_value_t = 20)]
    pub limit: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListArg {
    Compositions,
    Uploads,
    Analyses,
    Separations,
}

#[derive(clap::Args)]
pub struct AnalyzeArgs {
    /// Audio file, folder, output or take: compositions/9f2c…/takes/verse-1
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,
    /// Write a table in CSV to standard output, a row for each file
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Find the tracks of a recording that holds several
    #[arg(long, conflicts_with = "csv")]
    pub tracks: bool,
    /// File for a cue sheet of the tracks; needs --tracks
    #[arg(long, value_name = "FILE", requires = "tracks")]
    pub cue: Option<PathBuf>,
    /// Replace existing files
    #[arg(short, long)]
    pub force: bool,
}

#[derive(clap::Args)]
pub struct SeparateArgs {
    /// Audio file, or output: compositions/9f2c…/outputs/master.flac
    pub file: String,
    /// Folder for the stems
    #[arg(short, long, alias = "out", value_name = "FOLDER")]
    pub output: PathBuf,
    /// flac with 24 bits, or wav with 32-bit float
    #[arg(long, value_name = "FORMAT", default_value = "flac", hide_possible_values = true)]
    pub format: StemFormatArg,
    /// two: harmonic and percussive; four: drums, bass, other and vocals, if the server has weights for them; best: four if it has
    #[arg(long, value_name = "STEMS", default_value = "best", hide_possible_values = true)]
    pub stems: StemsArg,
    /// Replace existing files
    #[arg(short, long)]
    pub force: bool,
}

/// The format of stems. A lossy one would not add up.
#[derive(Clone, Copy, ValueEnum)]
pub enum StemFormatArg {
    Flac,
    Wav,
}

impl StemFormatArg {
    pub fn file_format(self) -> FileFormat {
        match self {
            Self::Flac => FileFormat::Flac,
            Self::Wav => FileFormat::Wav,
        }
    }
}

/// What a recording is separated into.
#[derive(Clone, Copy, ValueEnum)]
pub enum StemsArg {
    Best,
    Two,
    Four,
}

impl StemsArg {
    pub fn kind(self) -> SeparatorKind {
        match self {
            Self::Best => SeparatorKind::Unspecified,
            Self::Two => SeparatorKind::HarmonicPercussive,
            Self::Four => SeparatorKind::FourStems,
        }
    }
}

#[derive(clap::Args)]
pub struct DownloadArgs {
    /// Composition, or one output: compositions/9f2c…/outputs/master.flac
    pub name: String,
    /// Folder, or a file: for one output, or for the master, with the other files beside it
    #[arg(short, long, value_name = "PATH", default_value = ".")]
    pub output: PathBuf,
    /// Replace existing files
    #[arg(short, long)]
    pub force: bool,
}

#[derive(clap::Args)]
pub struct MasterArgs {
    /// Audio file
    pub file: PathBuf,
    #[arg(short, long, value_name = "FILE", help = format!("File to write: {}", segue_client::formats::list()))]
    pub output: PathBuf,
    #[command(flatten)]
    pub files: FileOptions,
    #[command(flatten)]
    pub master: MasterOptions,
    /// Leave the work running after Ctrl-C instead of cancelling it
    #[arg(long)]
    pub detach: bool,
    #[command(flatten)]
    pub follow: FollowOptions,
}
