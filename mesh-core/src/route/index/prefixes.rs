use super::Search;
use super::bucket::Bucket;

/// Beginnings of paths. All that a path begins with are found by one binary search and the way up from there.
#[derive(Debug, Clone)]
pub(super) struct Prefixes {
    /// Sorted by text.
    nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
struct Node {
    text: Box<[u8]>,
    /// Position of the longest other text that this one begins with.
    parent: Option<usize>,
    routes: Bucket,
}

impl Prefixes {
    /// Of texts that differ.
    pub(super) fn new(mut texts: Vec<(Box<[u8]>, Bucket)>) -> Self {
        texts.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut nodes: Vec<Node> = Vec::with_capacity(texts.len());
        for (text, routes) in texts {
            // What a text begins with stands before it, and so does all that begins with that.
            let mut parent = nodes.len().checked_sub(1);
            while let Some(node) = parent.and_then(|at| nodes.get(at)).filter(|node| !text.starts_with(&node.text)) {
                parent = node.parent;
            }
            nodes.push(Node { text, parent, routes });
        }
        Self { nodes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Visits the routes of every text that the path begins with, longest first.
    pub(super) fn visit(&self, path: &[u8], search: &mut Search<'_>) {
        // The last text that is not after the path begins with the longest one that the path begins with, if there is one.
        let mut at = self.nodes.partition_point(|node| *node.text <= *path).checked_sub(1);
        while let Some(node) = at.and_then(|at| self.nodes.get(at)) {
            if path.starts_with(&node.text) {
                node.routes.visit(search);
            }
            at = node.parent;
        }
    }
}
