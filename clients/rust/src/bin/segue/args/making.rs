//! What is common to all commands that make a piece: its files, its limits, and how it is followed.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;

use crate::words;

#[derive(clap::Args)]
#[command(next_help_heading = "Files, limits and following")]
pub struct Making {
    /// File to write: .flac, .wav, .opus, .ogg or .mp3; `-` writes WAV to standard output while it is made [default: a new name
    /// from the prompt or the title]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Kind of file [default: by the name of the file, else flac, or as the piece that is edited]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<FileKind>,
    /// Frames a second of the file [default: the piece's]
    #[arg(long, value_name = "HZ")]
    pub sample_rate: Option<u32>,
    /// Bits of a sample: 16, 24 or 32 (WAV only) [default: 24]
    #[arg(long, value_name = "BITS")]
    pub bit_depth: Option<u32>,
    /// How loud the master is [default: streaming, or as the piece that is edited]
    #[arg(long, value_name = "PRESET")]
    pub loudness: Option<Preset>,
    /// Also a file for each layer
    #[arg(long)]
    pub stems: bool,
    /// Also a MIDI file
    #[arg(long)]
    pub midi: bool,
    /// A tune to follow, for melody models: a sound file, or `band` for what the sketch band would play
    #[arg(long, value_name = "FILE|band")]
    pub melody: Option<String>,
    /// Accept what can only be done in a lesser way than asked; it is said
    #[arg(long)]
    pub allow_degraded: bool,
    /// The longest time that the work may take, as 10m
    #[arg(long, value_name = "TIME", value_parser = words::read_duration)]
    pub time_limit: Option<Duration>,
    /// A label of your own, as album=rain; may be given again
    #[arg(long, value_name = "KEY=VALUE", value_parser = words::read_label)]
    pub label: Vec<(String, String)>,
    /// Group this with other compositions
    #[arg(long, default_value = "", hide_default_value = true)]
    pub session: String,
    /// Keep the prompt out of the files' tags
    #[arg(long)]
    pub private_prompt: bool,
    /// Ctrl-C leaves the composition running instead of cancelling it
    #[arg(long)]
    pub detach: bool,
    #[command(flatten)]
    pub listen: Listen,
    #[command(flatten)]
    pub follow: Follow,
}

/// What is done with the sound while it comes.
#[derive(clap::Args, Clone, Copy, Default)]
pub struct Listen {
    /// Play while it is made
    #[arg(long)]
    pub play: bool,
    /// Keep the draft (WAV) beside the finished file
    #[arg(long)]
    pub keep_draft: bool,
}

#[derive(clap::Args, Clone, Copy)]
pub struct Follow {
    /// Replace existing files
    #[arg(short, long)]
    pub force: bool,
    /// How long to look for a server that does not answer any more
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = words::read_duration)]
    pub give_up_after: Duration,
    /// How long a composition may show no progress at all
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = words::read_duration)]
    pub stall_limit: Duration,
    /// How often the server must give a sign of life, 1 to 60 s
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = words::read_heartbeat, hide_short_help = true)]
    pub heartbeat: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FileKind {
    Flac,
    Wav,
    Opus,
    Mp3,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// -14 LUFS, -1 dBTP
    Streaming,
    /// EBU R 128: -23 LUFS, -1 dBTP
    Broadcast,
    /// -9 LUFS, -0.5 dBTP
    Club,
    /// Changes no sample
    None,
}
