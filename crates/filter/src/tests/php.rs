//! What PHP itself answered.

use serde_json::{Value as Json, json};

use super::eval;

/// `operators.json` was written by PHP 8: for each operator a line for each value, a bit for each operand, as a
/// hexadecimal number after a leading 1; for `$mod` the remainders.
#[test]
fn every_value_beside_every_other_is_what_php_says() {
    let recorded: Json = serde_json::from_str(include_str!("../../fixtures/operators.json")).unwrap();
    let values = recorded["values"].as_array().unwrap();
    let rows = |operator: &str| {
        recorded[operator]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row.as_str().unwrap())
    };
    let mut cases = 0;
    let mut wrong = Vec::new();
    for operator in ["$e", "$lt", "$lte", "$gt", "$gte", "$in", "$all"] {
        for (value, row) in values.iter().zip(rows(operator)) {
            let document = json!({"v": value});
            let bits = row.chars().flat_map(|digit| {
                let digit = digit.to_digit(16).unwrap();
                (0..4).rev().map(move |bit| digit >> bit & 1 == 1)
            });
            for (operand, expected) in values.iter().zip(bits.skip_while(|bit| !bit).skip(1)) {
                let list = matches!(operator, "$in" | "$all");
                let operand = if list { json!([operand]) } else { operand.clone() };
                cases += 1;
                // A list of more than a few elements is searched in another way; the others equal nothing.
                let more = (operator == "$in" && !value.is_array() && *value != json!(true)).then(|| {
                    let never = json!({"never": "equal", "to": "this"});
                    (0..20)
                        .map(|_| never.clone())
                        .chain([operand[0].clone()])
                        .collect::<Json>()
                });
                for operand in [Some(operand), more].into_iter().flatten() {
                    let filter = json!({"v": {operator: operand}});
                    if eval(&filter, &document) != Ok(expected) {
                        wrong.push(format!("{filter} on {document} is not {expected}"));
                    }
                }
            }
        }
    }
    for (value, remainders) in values.iter().zip(rows("$mod")) {
        let divisors = [
            json!(2),
            json!(-3),
            json!(7),
            json!(2.9),
            json!("3"),
            json!(" 5x"),
        ];
        for (divisor, expected) in divisors.iter().zip(remainders.split(' ')) {
            let remainder: i64 = expected.parse().unwrap_or_default();
            let filter = json!({"v": {"$mod": [divisor, remainder]}});
            let answer = eval(&filter, &json!({"v": value})).map_err(|_| ());
            cases += 1;
            if answer != if expected == "error" { Err(()) } else { Ok(true) } {
                wrong.push(format!("{filter} on {value}: {answer:?}, not {expected}"));
            }
        }
    }
    assert!(cases > 50_000, "{cases}");
    assert!(
        wrong.is_empty(),
        "{} wrong: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(20)]
    );
}
