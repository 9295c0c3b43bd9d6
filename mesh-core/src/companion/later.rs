use http::HeaderMap;

use super::HeaderEdits;
use crate::filter::Exchange;
use crate::name::Text;

/// What filters are to do to the response when it comes, by the filter's name.
#[derive(Debug, Clone, Default)]
struct Later(Vec<(Text, HeaderEdits)>);

/// Keeps changes of the response for the filter that is asked now.
pub(super) fn keep(edits: HeaderEdits, exchange: &mut Exchange) {
    if edits.is_empty() {
        return;
    }
    let name = exchange.current().clone();
    exchange.kept.get_or_insert_default::<Later>().0.push((name, edits));
}

/// Makes the changes that the filter that is asked now has kept.
pub(super) fn make(headers: &mut HeaderMap, exchange: &mut Exchange) {
    let name = exchange.current().clone();
    let Some(Later(kept)) = exchange.kept.get_mut() else { return };
    kept.retain(|(of, edits)| {
        let mine = *of == name;
        if mine {
            edits.apply(headers);
        }
        !mine
    });
}
