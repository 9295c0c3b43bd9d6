use super::*;

/// A sum of the numbers that its name spells, or of other sums.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Node(u8, &'static str);

impl Layered for Node {
    fn layer(&self) -> u8 {
        self.0
    }
}

fn drained(graph: &mut Graph<Node, u8>) -> Vec<&'static str> {
    std::iter::from_fn(|| graph.next()).map(|node| node.1).collect()
}

#[test]
fn exactly_the_readers_of_what_changed_are_dirty_and_lower_layers_come_first() {
    let mut graph = Graph::default();
    for (node, reads) in [(Node(1, "b"), vec![1, 2]), (Node(0, "a"), vec![1]), (Node(2, "c"), vec![3, 3])] {
        graph.mark(node.clone());
        graph.computed(node, reads);
    }
    assert_eq!(drained(&mut graph), ["a", "b", "c"]);
    graph.changed(&1);
    assert_eq!(drained(&mut graph), ["a", "b"]);
    graph.changed(&3);
    graph.changed(&3);
    assert_eq!(drained(&mut graph), ["c"]);
    graph.changed(&4);
    assert_eq!(drained(&mut graph), [""; 0]);
}

#[test]
fn what_is_not_read_any_more_makes_nobody_dirty_and_is_forgotten() {
    let mut graph = Graph::default();
    graph.computed(Node(0, "a"), [1, 2]);
    graph.computed(Node(0, "b"), [2]);
    graph.computed(Node(0, "c"), [2]);
    assert_eq!(graph.size(), (3, 2));
    graph.computed(Node(0, "a"), [3]);
    graph.changed(&1);
    assert_eq!(drained(&mut graph), [""; 0]);
    graph.changed(&2);
    assert_eq!(drained(&mut graph), ["b", "c"]);
    graph.remove(&Node(0, "b"));
    graph.changed(&2);
    assert_eq!(drained(&mut graph), ["c"]);
    graph.changed(&3);
    graph.remove(&Node(0, "a"));
    graph.remove(&Node(0, "c"));
    assert_eq!((drained(&mut graph), graph.size()), (vec![], (0, 0)));
    // Numbers are used again, and mean the new ones.
    graph.computed(Node(0, "d"), [2]);
    graph.changed(&2);
    assert_eq!(drained(&mut graph), ["d"]);
    assert_eq!(graph.computations(), 5);
}

#[test]
fn several_values_by_one_key() {
    let mut map: MultiMap<&str, u8> = MultiMap::default();
    assert!(map.insert("a", 2) && map.insert("a", 1) && !map.insert("a", 1));
    assert_eq!(map.get("a").collect::<Vec<_>>(), [&1, &2]);
    assert!(map.remove(&"a", &1) && !map.remove(&"a", &1) && map.remove(&"a", &2));
    assert_eq!(map.get("a").count(), 0);
}
