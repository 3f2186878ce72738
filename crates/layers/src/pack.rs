//! Layers made of trees.

use std::io::Write;

use crate::tar::{END, encode, padding};
use crate::tree::Tree;
use crate::{Layer, LayerWriter, LayersError};

/// Bytes of a file that are read at once.
const BUFFER: usize = 1 << 20;

/// Writes the nodes of a tree at these indices as a layer, in the order given, and ends the layer.
///
/// # Errors
/// A node that no archive can hold, a file that changed since the tree was made, and what the output fails with.
pub fn pack<W: Write>(tree: &Tree, nodes: &[usize], mut writer: LayerWriter<W>) -> Result<Layer, LayersError> {
    let mut buffer = vec![0; BUFFER];
    let mut raw = Vec::new();
    for node in nodes.iter().filter_map(|index| tree.nodes().get(*index)) {
        raw.extend(encode(node.entry())?);
        writer.member(&raw, node.entry())?;
        raw.clear();
        let mut content = tree.content(node)?;
        loop {
            match content.read(&mut buffer)? {
                0 => break,
                read => writer.content(&buffer[..read])?,
            }
        }
        raw.resize(padding(node.entry().size), 0);
    }
    raw.extend(END);
    writer.raw(&raw)?;
    writer.finish()
}
