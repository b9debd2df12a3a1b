//! Two values side by side, down to what differs.

use serde_json::Value;

use super::Leaf;

/// Walks down to what differs. Of lists, what leaves and what joins is told; a list whose elements are the same in
/// another order is told as a whole.
pub(crate) fn leaves(path: &str, have: &Value, want: &Value) -> Vec<Leaf> {
    let mut found = Vec::new();
    walk(path, Some(have), Some(want), &mut found);
    found
}

fn walk(path: &str, have: Option<&Value>, want: Option<&Value>, found: &mut Vec<Leaf>) {
    match (have, want) {
        (Some(Value::Object(have)), Some(Value::Object(want))) => {
            let mut names: Vec<&String> = have.keys().chain(want.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let (have, want) = (have.get(name), want.get(name));
                if have != want {
                    walk(&join(path, name), have, want, found);
                }
            }
        }
        (Some(Value::Array(have)), Some(Value::Array(want))) => {
            let (gone, come) = (missing(have, want), missing(want, have));
            if gone.is_empty() && come.is_empty() && have != want {
                found.push(leaf(
                    path,
                    Some(have.clone().into()),
                    Some(want.clone().into()),
                ));
            }
            found.extend(gone.into_iter().map(|value| leaf(path, Some(value), None)));
            found.extend(come.into_iter().map(|value| leaf(path, None, Some(value))));
        }
        _ => found.push(leaf(path, have.cloned(), want.cloned())),
    }
}

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        _ => format!("{path}.{name}"),
    }
}

fn leaf(path: &str, have: Option<Value>, want: Option<Value>) -> Leaf {
    Leaf {
        path: path.to_owned(),
        have,
        want,
        forces_replacement: false,
    }
}

/// What one list has and the other lacks, each as often as it is missing.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(have: Value, want: Value) -> Vec<String> {
        let show = |value: Option<Value>| value.map_or("-".to_owned(), |value| value.to_string());
        leaves("at", &have, &want)
            .into_iter()
            .map(|leaf| format!("{}: {} {}", leaf.path, show(leaf.have), show(leaf.want)))
            .collect()
    }

    #[test]
    fn only_what_differs_is_told() {
        let have = json!({"path": "/", "every": 5, "gone": true, "none": null});
        let want = json!({"path": "/ok", "every": 5, "come": {"a": 1}, "none": 1});
        let lines = [
            r#"at.come: - {"a":1}"#,
            "at.gone: true -",
            "at.none: null 1",
            r#"at.path: "/" "/ok""#,
        ];
        assert_eq!(told(have, want), lines);
    }

    #[test]
    fn lists_are_told_by_what_leaves_and_what_joins() {
        let have = json!([{"port": 80}, {"port": 22}, {"port": 22}]);
        let want = json!([{"port": 80}, {"port": 443}, {"port": 22}]);
        let lines = [r#"at: {"port":22} -"#, r#"at: - {"port":443}"#];
        assert_eq!(told(have, want), lines);
        assert_eq!(told(json!([1, 2]), json!([2, 1])), ["at: [1,2] [2,1]"]);
        assert_eq!(told(json!([1, 2]), json!([1, 2])), Vec::<String>::new());
    }
}
