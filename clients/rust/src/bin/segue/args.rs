//! The command line.

// The help of a command line is no Markdown.
#![allow(clippy::doc_markdown)]

use std::{io, path::PathBuf, time::Duration};

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use segue_client::proto::segue::music::v1::{Key, LayerKind, Metre, Role};

use crate::{exit::Stop, words};

mod changes;
mod making;

pub use changes::{Change, Changes, Place};
pub use making::{FileKind, Follow, Listen, Making, Preset};

const EXIT_CODES: &str = "Exit codes: 0 done, 1 the composition or the work failed, 2 wrong use, 3 the server cannot be \
    reached, 4 refused by the server, 5 the server is busy, 130 interrupted, 128 + n ended by signal n.";

const EDITING: &str = "A SECTION is a number, as `segue get NAME` counts them, or a name, as chorus-2. The flags may be \
    repeated and are done in the order in which they are written; numbers are always those of the piece before. What no \
    flag names keeps its sound. Without any change the same music gets other files, as with --format or --loudness.";

/// Music from a terminal, by a Segue service.
#[derive(Parser)]
#[command(name = "segue", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Common {
    /// Server: HOST:PORT, http://…, https://… or unix:PATH [env: SEGUE_CLIENT_SERVER or SEGUE_SERVER] [default:
    /// 127.0.0.1:7300]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub server: Option<String>,
    /// File with the bearer token to send, `-` reads it from standard input [env: SEGUE_CLIENT_TOKEN holds the token itself]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Speak TLS; without a scheme this is the default for every server but this machine
    #[arg(long, global = true)]
    pub tls: bool,
    /// Certificates (PEM) to trust instead of the system's [env: SEGUE_CLIENT_TLS_CA]
    #[arg(long, global = true, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Own certificate (PEM), for a server that wants to see one
    #[arg(long, global = true, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of that certificate
    #[arg(long, global = true, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Write one JSON object a line to standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: When,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more, as which events of a newer server were skipped
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    Auto,
    Always,
    Never,
}

#[derive(Subcommand)]
pub enum Command {
    /// Make a piece and hear it while it is made
    Compose(Box<Compose>),
    /// Change sections of a finished piece; all others keep their sound
    Edit(Box<Edit>),
    /// Follow compositions, running or finished
    Watch(Watch),
    /// Plan a piece without making it; the JSON can be edited and given to `compose --plan`
    Plan(Box<Plan>),
    /// List compositions, newest first
    List(List),
    /// Show a composition
    Get {
        /// Its name, as compositions/9f2c… or just the first letters, 9f2c
        name: String,
    },
    /// Stop compositions; what is finished can still be downloaded
    Cancel {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove finished compositions with all their files
    Delete {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Download a composition's files
    Download(Download),
    /// Measure a sound file, or an output of a composition
    Analyze(Analyze),
    /// Master a sound file
    Master(Master),
    /// List the models that the service can play
    Models,
    /// Show how busy the service is
    Stats,
    /// Find out why a server cannot be reached
    Doctor,
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(clap::Args)]
pub struct Compose {
    #[command(flatten)]
    pub asked: Asked,
    #[command(flatten)]
    pub making: Making,
}

#[derive(clap::Args)]
#[command(after_help = EDITING)]
pub struct Edit {
    /// The piece to begin from, as compositions/9f2c… or just the first letters, 9f2c; it stays as it is
    pub name: String,
    #[command(flatten)]
    pub changes: Changes,
    /// Keep the master too, from a second after a change to a second before the next; the loudness is then as it comes
    #[arg(long, conflicts_with = "loudness", help_heading = "Changes")]
    pub frozen: bool,
    #[command(flatten)]
    pub making: Making,
}

#[derive(clap::Args)]
pub struct Asked {
    /// What it should be, as "rainy lo-fi, 82 bpm, F minor"
    #[arg(required_unless_present = "plan")]
    pub prompt: Option<String>,
    /// A plan in JSON, whole or partial; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Length, as 75, 20s, 2m or 1m20s
    #[arg(short, long, value_name = "TIME", value_parser = words::read_duration)]
    pub duration: Option<Duration>,
    /// Beats a minute; a beat is a dotted quarter with --metre 6/8, 9/8 or 12/8, else a quarter
    #[arg(long, value_name = "BEATS")]
    pub bpm: Option<f64>,
    /// Key, as "F minor", Bb or "D dorian"
    #[arg(long, value_parser = words::read_key)]
    pub key: Option<Key>,
    /// Time signature, as 3/4
    #[arg(long, value_parser = words::read_metre)]
    pub metre: Option<Metre>,
    /// Genre
    #[arg(long, default_value = "", hide_default_value = true)]
    pub genre: String,
    /// Sections in order, as intro,verse,chorus,outro
    #[arg(long, value_delimiter = ',', value_parser = words::read_role)]
    pub form: Vec<Role>,
    /// Layers that must play, as rhythm,bass
    #[arg(long, value_name = "LAYERS", value_delimiter = ',', value_parser = words::read_layer)]
    pub with: Vec<LayerKind>,
    /// Layers that must not play
    #[arg(long, value_name = "LAYERS", value_delimiter = ',', value_parser = words::read_layer)]
    pub without: Vec<LayerKind>,
    /// Instruments that must be heard, as cello,piano
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub instrument: Vec<String>,
    /// What should not be heard
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub negative_prompt: String,
    /// The same seed gives the same piece
    #[arg(long)]
    pub seed: Option<u32>,
    /// Title [default: one made from the prompt]
    #[arg(long, default_value = "", hide_default_value = true)]
    pub title: String,
    /// A piece that ends where it begins
    #[arg(long = "loop")]
    pub is_loop: bool,
    /// Model, one of `segue models`
    #[arg(long, default_value = "", hide_default_value = true)]
    pub model: String,
}

#[derive(clap::Args)]
pub struct Watch {
    /// Their names, as compositions/9f2c… or just the first letters, 9f2c; with several, each has a line
    #[arg(required = true)]
    pub names: Vec<String>,
    /// File to write; `-` writes WAV to standard output [default: none]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub listen: Listen,
    #[command(flatten)]
    pub follow: Follow,
}

#[derive(clap::Args)]
pub struct Plan {
    #[command(flatten)]
    pub asked: Asked,
    /// File for the plan in JSON; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace an existing file
    #[arg(short, long)]
    pub force: bool,
}

#[derive(clap::Args)]
pub struct List {
    /// Terms joined by AND, as 'state = "SUCCEEDED"'
    #[arg(long, default_value = "", hide_default_value = true)]
    pub filter: String,
    /// How many at most
    #[arg(short = 'n', long, default_value_t = 20)]
    pub limit: usize,
}

#[derive(clap::Args)]
pub struct Download {
    /// A composition, or one output as compositions/9f2c…/outputs/master.flac
    pub name: String,
    /// Folder, or a file: for one output, or for the master, with the others beside it
    #[arg(short, long, value_name = "PATH", default_value = ".")]
    pub output: PathBuf,
    /// Replace existing files
    #[arg(short, long)]
    pub force: bool,
}

#[derive(clap::Args)]
pub struct Analyze {
    /// A sound file, or an output as compositions/9f2c…/outputs/master.flac
    pub source: String,
}

#[derive(clap::Args)]
pub struct Master {
    /// A sound file
    pub source: PathBuf,
    /// File to write: .flac, .wav, .opus, .ogg or .mp3
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// How loud it is
    #[arg(long, value_name = "PRESET", default_value = "streaming")]
    pub loudness: Preset,
    /// Ctrl-C leaves the work running instead of cancelling it
    #[arg(long)]
    pub detach: bool,
    #[command(flatten)]
    pub follow: Follow,
}

pub fn print_completions(shell: clap_complete::Shell) -> Result<(), Stop> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "segue", &mut script);
    io::Write::write_all(&mut io::stdout(), &script).map_err(Stop::stdout)
}
