//! How commands about nodes that are away are encoded. Tags 30 to 33.

use marram_types::NodeId;
use marram_types::codec::{DecodeError, Reader, Writer};

use super::command::RootCommand;
use crate::kinds::absence::Pause;
use crate::refusal::unknown;

/// Commands about nodes that are away.
pub(super) fn encode(out: &mut Writer, command: &RootCommand) {
    match command {
        RootCommand::GiveUp { node, rebuild } => {
            out.u8(30).varint(node.0).bool(*rebuild);
        }
        RootCommand::TakeBack { node } => {
            out.u8(31).varint(node.0);
        }
        RootCommand::Pause {
            nodes,
            pause,
            ttl_ms,
        } => {
            out.u8(32)
                .list(nodes, |out, node| {
                    out.varint(node.0);
                })
                .u8(*pause as u8)
                .varint(*ttl_ms);
        }
        RootCommand::EndPause { node, pause, only } => {
            out.u8(33).varint(node.0).u8(*pause as u8);
            out.option(only.as_ref(), |out, until_ms| {
                out.varint(*until_ms);
            });
        }
        _ => unreachable!("the other commands are encoded before"),
    }
}

pub(super) fn decode(tag: u8, from: &mut Reader<'_>) -> Result<RootCommand, DecodeError> {
    let node = |from: &mut Reader<'_>| from.varint().map(NodeId);
    Ok(match tag {
        30 => RootCommand::GiveUp {
            node: node(from)?,
            rebuild: from.bool()?,
        },
        31 => RootCommand::TakeBack { node: node(from)? },
        32 => RootCommand::Pause {
            nodes: from.list(node)?,
            pause: Pause::from_byte(from.u8()?)?,
            ttl_ms: from.varint()?,
        },
        33 => RootCommand::EndPause {
            node: node(from)?,
            pause: Pause::from_byte(from.u8()?)?,
            only: from.option(Reader::varint)?,
        },
        other => return Err(unknown("root command", other)),
    })
}
