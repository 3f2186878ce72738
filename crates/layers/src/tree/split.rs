//! Which node goes to which layer.

use std::collections::{HashMap, HashSet};

use super::{Node, Pattern};
use crate::Kind;

/// The nodes of a tree, assigned to layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// For each layer the indices of its nodes, ascending: one layer for each list, in their order, then one for all else. A directory is in
    /// every layer that has something in it. A layer may be empty.
    pub layers: Vec<Vec<usize>>,
    /// The patterns that name nothing in the tree.
    pub unmatched: Vec<Pattern>,
}

/// Assigns each node to the first list that names it; all names of a file to the first list that names one of them, since a hard link
/// is only understood beside its target.
pub(super) fn split(nodes: &[Node], lists: &[Vec<Pattern>]) -> Split {
    let mut unmatched: Vec<Vec<bool>> = lists.iter().map(|list| vec![true; list.len()]).collect();
    let mut layer_of: Vec<usize> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let parts: Vec<&[u8]> = node.parts().collect();
        let mut layer = lists.len();
        for (index, list) in lists.iter().enumerate() {
            for (pattern, unmatched) in list.iter().zip(&mut unmatched[index]) {
                if pattern.names_parts(&parts) {
                    *unmatched = false;
                    layer = layer.min(index);
                }
            }
        }
        layer_of.push(layer);
    }
    gather_links(nodes, &mut layer_of);
    let mut layers = vec![Vec::new(); lists.len() + 1];
    for (index, layer) in layer_of.iter().enumerate() {
        layers[*layer].push(index);
    }
    add_parents(nodes, &mut layers);
    let unmatched = lists.iter().flatten().zip(unmatched.into_iter().flatten());
    Split { layers, unmatched: unmatched.filter(|(_, unmatched)| *unmatched).map(|(pattern, _)| pattern.clone()).collect() }
}

/// Moves all names of a file to the lowest layer that one of them is in.
fn gather_links(nodes: &[Node], layer_of: &mut [usize]) {
    let mut lowest: HashMap<&[u8], usize> = HashMap::new();
    for (node, layer) in nodes.iter().zip(layer_of.iter()) {
        if let Kind::Hardlink(target) = &node.entry.kind {
            lowest.entry(target).and_modify(|lowest| *lowest = *layer.min(lowest)).or_insert(*layer);
        }
    }
    for (node, layer) in nodes.iter().zip(layer_of.iter_mut()) {
        if let Some(lowest) = lowest.get_mut(node.entry.name.as_slice()) {
            *lowest = *layer.min(lowest);
            *layer = *lowest;
        }
    }
    // Targets stand before their links, so that by now each target has the lowest layer.
    for (node, layer) in nodes.iter().zip(layer_of.iter_mut()) {
        if let Kind::Hardlink(target) = &node.entry.kind {
            *layer = lowest[target.as_slice()];
        }
    }
}

/// Adds to each layer the directories above its nodes.
fn add_parents(nodes: &[Node], layers: &mut [Vec<usize>]) {
    let directories: HashMap<&[u8], usize> = nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| node.entry.kind == Kind::Directory)
        .map(|(index, node)| (node.path_bytes(), index))
        .collect();
    for layer in layers {
        let mut held: HashSet<usize> = layer.iter().copied().collect();
        for index in layer.clone() {
            let mut path = nodes[index].path_bytes();
            while !path.is_empty() {
                path = &path[..path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)];
                if let Some(directory) = directories.get(path) {
                    if !held.insert(*directory) {
                        break;
                    }
                    layer.push(*directory);
                }
            }
        }
        layer.sort_unstable();
    }
}
