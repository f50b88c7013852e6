//! Options that several commands share: files, loudness, limits, playback and the connection.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;
use segue_client::{formats, proto::segue::audio::v1::FileFormat};

use super::parse;

#[derive(clap::Args)]
#[command(next_help_heading = "Files, limits and playback")]
pub struct CompositionOptions {
    #[arg(short, long, value_name = "FILE", help = output_help())]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub files: FileOptions,
    #[command(flatten)]
    pub master: MasterOptions,
    /// Also write one file for each layer
    #[arg(long)]
    pub stems: bool,
    /// Also write a MIDI file
    #[arg(long)]
    pub midi: bool,
    /// Also write the words with their times as an LRC file
    #[arg(long)]
    pub lrc: bool,
    /// Melody to follow, for melody models: an audio file, or `band` for the sketch band's tune
    #[arg(long, value_name = "FILE|band")]
    pub melody: Option<String>,
    /// Sound to imitate, for models that can: an audio file, or `first` for that of the first section
    #[arg(long, value_name = "FILE|first")]
    pub timbre: Option<String>,
    /// Accept a lesser result than asked; the output says what is missing
    #[arg(long)]
    pub allow_degraded: bool,
    /// Render a section again with another seed if its tempo is further from the plan than this
    #[arg(long, value_name = "PERCENT")]
    pub tempo_within: Option<f64>,
    /// Render a section again if its key is neither the planned one nor its relative
    #[arg(long)]
    pub same_key: bool,
    /// Render a section again if its loudness in the draft is further from the plan than this
    #[arg(long, value_name = "LU")]
    pub level_within: Option<f64>,
    /// How often a section is rendered again for these bounds, 1 to 8 [default: 2]
    #[arg(long, value_name = "COUNT")]
    pub redos: Option<u32>,
    /// Place in the queue: what can start with a higher one starts first
    #[arg(long)]
    pub priority: Option<PriorityArg>,
    /// Longest time that the work may take, for example 10m
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    pub time_limit: Option<Duration>,
    /// Label of your own, for example album=rain; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse::label)]
    pub label: Vec<(String, String)>,
    /// Group this composition with others
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub session: String,
    /// Keep prompt and lyrics out of the files' tags
    #[arg(long)]
    pub private_prompt: bool,
    /// Leave the composition running after Ctrl-C instead of cancelling it
    #[arg(long)]
    pub detach: bool,
    #[command(flatten)]
    pub playback: PlaybackOptions,
    #[command(flatten)]
    pub follow: FollowOptions,
}

fn output_help() -> String {
    format!(
        "File to write: {} [`-`: the draft, as WAV, to standard output] [default: a new name from the prompt or the title]",
        formats::list()
    )
}

/// The format of the finished file.
#[derive(clap::Args)]
pub struct FileOptions {
    /// File format; the default is the one of the file's name
    #[arg(long, value_name = "FORMAT", value_parser = parse::format())]
    pub format: Option<FileFormat>,
    /// Sample rate of the file, 22050 to 96000
    #[arg(long, value_name = "HZ")]
    pub sample_rate: Option<u32>,
    /// Bits per sample: 16, 24 or 32 (WAV only) [default: 24]
    #[arg(long, value_name = "BITS")]
    pub bit_depth: Option<u32>,
}

/// The loudness and the sound of the master.
#[derive(clap::Args)]
pub struct MasterOptions {
    /// Loudness and sound of the master: streaming, broadcast, club or none [default: streaming, or that of the edited piece]
    #[arg(long, hide_possible_values = true)]
    pub preset: Option<PresetArg>,
    /// Integrated loudness instead of the preset's
    #[arg(long, allow_negative_numbers = true)]
    pub lufs: Option<f64>,
    /// Highest true peak instead of the preset's
    #[arg(long, value_name = "DBTP", allow_negative_numbers = true)]
    pub ceiling: Option<f64>,
}

impl MasterOptions {
    pub fn is_empty(&self) -> bool {
        self.preset.is_none() && self.lufs.is_none() && self.ceiling.is_none()
    }
}

/// What happens with the draft while the piece is made.
#[derive(clap::Args, Clone, Copy, Default)]
pub struct PlaybackOptions {
    /// Play the piece while it is made
    #[arg(long)]
    pub play: bool,
    /// Keep the draft (WAV) beside the finished file
    #[arg(long)]
    pub keep_draft: bool,
}

/// How a composition is followed.
#[derive(clap::Args, Clone, Copy)]
pub struct FollowOptions {
    /// Replace existing files
    #[arg(short, long)]
    pub force: bool,
    /// How long to try to reach a server that does not answer
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse::duration)]
    pub give_up_after: Duration,
    /// How long a composition may make no progress
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = parse::duration)]
    pub stall_limit: Duration,
    /// Longest time between two messages of the server, 1 to 60 s
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse::heartbeat)]
    pub heartbeat: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PriorityArg {
    Low,
    Normal,
    High,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PresetArg {
    Streaming,
    Broadcast,
    Club,
    None,
}
