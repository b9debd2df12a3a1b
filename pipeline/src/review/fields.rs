//! The differences between two values, down to the innermost fields.

use serde_json::Value;

use super::Leaf;

/// Collects the differences. For lists, the removed and the added elements; a list with the same elements in
/// another order is one difference.
pub(crate) fn leaves(path: &str, before: &Value, after: &Value) -> Vec<Leaf> {
    let mut found = Vec::new();
    walk(path, Some(before), Some(after), &mut found);
    found
}

fn walk(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Leaf>) {
    match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let (before, after) = (before.get(name), after.get(name));
                if before != after {
                    walk(&join(path, name), before, after, found);
                }
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            let (gone, come) = (missing(before, after), missing(after, before));
            if gone.is_empty() && come.is_empty() && before != after {
                found.push(leaf(
                    path,
                    Some(before.clone().into()),
                    Some(after.clone().into()),
                ));
            }
            let (changed, gone, come) = paired(gone, come);
            for (before, after) in changed {
                let path = format!("{path}[{}]", common(&before, &after));
                walk(&path, Some(&before), Some(&after), found);
            }
            found.extend(gone.into_iter().map(|value| leaf(path, Some(value), None)));
            found.extend(come.into_iter().map(|value| leaf(path, None, Some(value))));
        }
        _ => found.push(leaf(path, before.cloned(), after.cloned())),
    }
}

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        _ => format!("{path}.{name}"),
    }
}

fn leaf(path: &str, before: Option<Value>, after: Option<Value>) -> Leaf {
    Leaf {
        path: path.to_owned(),
        before,
        after,
        forces_replacement: false,
    }
}

/// The elements of one list that the other lacks, with their multiplicity.
fn missing(from: &[Value], other: &[Value]) -> Vec<Value> {
    let mut other: Vec<&Value> = other.iter().collect();
    from.iter()
        .filter(|value| match other.iter().position(|one| one == value) {
            Some(at) => {
                other.swap_remove(at);
                false
            }
            None => true,
        })
        .cloned()
        .collect()
}

/// Pairs elements that agree in most fields, or in one of two: a changed element is easier to read than a removed and
/// an added one. The most similar pairs come first.
fn paired(gone: Vec<Value>, come: Vec<Value>) -> (Vec<(Value, Value)>, Vec<Value>, Vec<Value>) {
    let mut alike: Vec<(usize, usize, usize)> = Vec::new();
    for (old, before) in gone.iter().enumerate() {
        for (new, after) in come.iter().enumerate() {
            let (same, all) = likeness(before, after);
            if same * 2 > all || (same, all) == (1, 2) {
                alike.push((same, old, new));
            }
        }
    }
    alike.sort_by_key(|&(same, old, new)| (std::cmp::Reverse(same), old, new));
    let mut gone: Vec<Option<Value>> = gone.into_iter().map(Some).collect();
    let mut come: Vec<Option<Value>> = come.into_iter().map(Some).collect();
    let mut changed = Vec::new();
    for (_, old, new) in alike {
        if gone[old].is_some() && come[new].is_some() {
            changed.extend(gone[old].take().zip(come[new].take()));
        }
    }
    let left = |list: Vec<Option<Value>>| list.into_iter().flatten().collect();
    (changed, left(gone), left(come))
}

/// The number of equal fields of two objects, and of all fields.
fn likeness(before: &Value, after: &Value) -> (usize, usize) {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return (0, 0);
    };
    let same = before
        .iter()
        .filter(|(name, value)| after.get(*name) == Some(value));
    (same.count(), before.len().max(after.len()))
}

/// The label of an element: its unchanged plain values.
fn common(before: &Value, after: &Value) -> String {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return String::new();
    };
    let parts = before
        .iter()
        .filter(|(name, value)| after.get(*name) == Some(value))
        .filter_map(|(name, value)| match value {
            Value::String(text) => Some(format!("{name} {text}")),
            Value::Number(number) => Some(format!("{name} {number}")),
            _ => None,
        });
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reported(before: Value, after: Value) -> Vec<String> {
        let show = |value: Option<Value>| value.map_or("-".to_owned(), |value| value.to_string());
        leaves("at", &before, &after)
            .into_iter()
            .map(|leaf| format!("{}: {} {}", leaf.path, show(leaf.before), show(leaf.after)))
            .collect()
    }

    #[test]
    fn only_what_differs_is_told() {
        let before = json!({"path": "/", "every": 5, "gone": true, "none": null});
        let after = json!({"path": "/ok", "every": 5, "come": {"a": 1}, "none": 1});
        let lines = [
            r#"at.come: - {"a":1}"#,
            "at.gone: true -",
            "at.none: null 1",
            r#"at.path: "/" "/ok""#,
        ];
        assert_eq!(reported(before, after), lines);
    }

    #[test]
    fn an_element_that_is_mostly_alike_has_changed() {
        let before = json!([
            {"number": 100, "cidr": "10.0.0.0/18", "deny": false, "ports": {"from": 22, "to": 22}},
            {"number": 110, "cidr": "10.0.0.0/18", "deny": false, "ports": {"from": 80, "to": 80}},
        ]);
        let after = json!([
            {"number": 110, "cidr": "10.0.0.0/18", "deny": false, "ports": {"from": 80, "to": 81}},
            {"number": 300, "cidr": "10.9.0.0/18", "deny": true, "ports": null},
        ]);
        let lines = [
            "at[cidr 10.0.0.0/18, number 110].ports.to: 80 81",
            r#"at: {"cidr":"10.0.0.0/18","deny":false,"number":100,"ports":{"from":22,"to":22}} -"#,
            r#"at: - {"cidr":"10.9.0.0/18","deny":true,"number":300,"ports":null}"#,
        ];
        assert_eq!(reported(before, after), lines);
    }

    #[test]
    fn lists_are_told_by_what_leaves_and_what_joins() {
        let before = json!([{"port": 80}, {"port": 22}, {"port": 22}]);
        let after = json!([{"port": 80}, {"port": 443}, {"port": 22}]);
        let lines = [r#"at: {"port":22} -"#, r#"at: - {"port":443}"#];
        assert_eq!(reported(before, after), lines);
        assert_eq!(reported(json!([1, 2]), json!([2, 1])), ["at: [1,2] [2,1]"]);
        assert_eq!(reported(json!([1, 2]), json!([1, 2])), Vec::<String>::new());
    }
}
