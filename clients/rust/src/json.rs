//! Converts messages of the contract to and from `ProtoJSON`, the JSON form that all protobuf libraries share.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, SerializeOptions};
use serde_json::Value;

use crate::{
    error::{Error, Result},
    text,
};

static CONTRACT: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(include_bytes!(concat!(env!("OUT_DIR"), "/contract.bin")).as_slice())
        .expect("the build wrote the descriptors")
});

/// Converts a message to `ProtoJSON`. `name` is its full name, for example "segue.music.v1.Plan".
pub fn to_value<M: Message>(name: &str, message: &M) -> Result<Value> {
    let descriptor = CONTRACT.get_message_by_name(name).ok_or_else(|| unknown(name))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .map_err(|error| Error::ContractViolation(format!("{name}: {error}")))?;
    let options = SerializeOptions::new().stringify_64_bit_integers(true).skip_default_fields(true);
    dynamic
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|error| Error::ContractViolation(format!("{name} cannot be written as JSON: {error}")))
}

/// Reads a message from `ProtoJSON`. Unknown fields are errors, so that a misspelt field is not ignored.
pub fn from_text<M: Message + Default>(name: &str, json: &str) -> Result<M> {
    let descriptor = CONTRACT.get_message_by_name(name).ok_or_else(|| unknown(name))?;
    let mut reader = serde_json::Deserializer::from_str(json);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let dynamic = DynamicMessage::deserialize_with_options(descriptor, &mut reader, &options)
        .map_err(|error| Error::Usage(format!("this is not a {name} in JSON: {error}")))?;
    reader.end().map_err(|error| Error::Usage(format!("unexpected text after the {name}: {error}")))?;
    M::decode(dynamic.encode_to_vec().as_slice())
        .map_err(|error| Error::Usage(format!("this is not a {name}: {error}")))
}

/// Writes JSON as one line. It escapes characters that could control a terminal.
#[must_use]
pub fn line(value: &Value) -> String {
    escaped(value.to_string())
}

/// Writes JSON as indented lines, with the same characters escaped.
#[must_use]
pub fn indented(value: &Value) -> String {
    let lines: Vec<String> = format!("{value:#}").lines().map(|line| escaped(line.to_owned())).collect();
    lines.join("\n")
}

fn escaped(plain: String) -> String {
    let escape = |each: char| {
        if text::is_harmful(each) { format!("\\u{:04x}", each as u32) } else { each.to_string() }
    };
    if plain.chars().any(text::is_harmful) { plain.chars().map(escape).collect() } else { plain }
}

fn unknown(name: &str) -> Error {
    Error::Usage(format!("the contract has no message {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::segue::music::v1::{Brief, Key};

    #[test]
    fn json_round_trip_preserves_a_message() {
        let brief = Brief {
            prompt: "a \u{1b}[31mred\u{9b} fox".into(),
            duration: Some(prost_types::Duration { seconds: 75, nanos: 500_000_000 }),
            key: Some(Key { tonic: "F#".into(), mode: 2 }),
            seed: Some(0),
            ..Brief::default()
        };
        let written = line(&to_value("segue.music.v1.Brief", &brief).unwrap());
        assert!(!written.contains(|each: char| each.is_control()));
        assert!(written.contains("\"75.500s\"") && written.contains("MODE_MINOR"), "{written}");
        assert_eq!(from_text::<Brief>("segue.music.v1.Brief", &written).unwrap(), brief);
    }

    #[test]
    fn unknown_fields_are_refused() {
        let error = from_text::<Brief>("segue.music.v1.Brief", r#"{"promt": "x"}"#).unwrap_err();
        assert!(error.to_string().contains("promt"), "{error}");
    }
}
