//! Which options are taken, and which do not fit a format.

use serde_json::json;

use super::*;

fn read(body: Value) -> Result<BodyOptions, String> {
    let Value::Object(map) = body else {
        panic!("an object")
    };
    BodyOptions::of_request(&Fields::json(map)).map_err(|error| error.to_string())
}

fn source() -> EventSource {
    EventSource {
        oin: Some("00000001823288444000".to_owned()),
        name: Some("openregister".to_owned()),
    }
}

fn zgw() -> Value {
    json!({"kanaal": "objecten", "resourceUrl": "https://cloud.example/objects/{uuid}", "kenmerken": {"type": "data.type"}})
}

fn check(body: Value, format: Format, mode: DataMode, event: &str) -> Result<(), String> {
    let event = EventPattern::parse(event).unwrap();
    read(body)
        .unwrap()
        .check((format, mode), &event, false, &source())
        .map_err(|error| error.to_string())
}

const CREATED: &str = r"OCA\OpenRegister\Event\ObjectCreatedEvent";

#[test]
fn what_is_stored_comes_back() {
    let whole =
        json!({"template": "{{ id }}", "zgw": zgw(), "nlgov": {"type": "nl.zaken.{kind}", "mode": "binary"}});
    let options = read(whole).unwrap();
    let text = options.to_text().unwrap();
    let again = BodyOptions::from_text(&text).unwrap();
    assert_eq!(again.shown(), options.shown());
    assert_eq!(again.zgw, options.zgw);
    assert_eq!(again.nlgov, options.nlgov);
    assert_eq!(BodyOptions::default().to_text(), None);
}

#[test]
fn faults_name_the_field() {
    for (body, start) in [
        (json!({"template": "{{ a"}), "template: line 1, column "),
        (json!({"zgw": {}}), "zgw.kanaal: is required"),
        (json!({"zgw": {"kanaal": "a"}}), "zgw.resourceUrl: is required"),
        (
            json!({"zgw": {"kanaal": "a", "resourceUrl": "{uuid}"}}),
            "zgw.resourceUrl: must be a URL",
        ),
        (
            json!({"zgw": {"kanaal": "a".repeat(51), "resourceUrl": "https://e.nl/"}}),
            "zgw.kanaal: must have at most 50",
        ),
        (
            json!({"zgw": {"kanaal": "a", "resourceUrl": "https://e.nl/", "kenmerken": {"b": 5}}}),
            "zgw.kenmerken.b: must be a path",
        ),
        (
            json!({"zgw": {"kanaal": "a", "resourceUrl": "https://{data.host}/"}}),
            "zgw.resourceUrl: must be a URL",
        ),
        (
            json!({"zgw": {"kanaal": "a", "resourceUrl": "https://user@e.nl/{uuid}"}}),
            "zgw.resourceUrl: must be a URL",
        ),
        (
            json!({"zgw": {"kanaal": "a", "resourceUrl": "https://e.nl/", "kenmerken": {"k".repeat(101): "id"}}}),
            "zgw.kenmerken: has a name",
        ),
        (
            json!({"nlgov": {"dataref": "https://e.nl{uuid}/"}}),
            "nlgov.dataref: must be a URL",
        ),
        (json!({"zgw": {"kanal": "a"}}), "zgw.kanal: is not known"),
        (
            json!({"nlgov": {"type": "Zaken"}}),
            "nlgov.type: must be a reverse domain name",
        ),
        (
            json!({"nlgov": {"mode": "batch"}}),
            "nlgov.mode: must be one of structured, binary",
        ),
        (
            json!({"nlgov": {"dataschema": "/x"}}),
            "nlgov.dataschema: must be a URL",
        ),
    ] {
        let error = read(body.clone()).unwrap_err();
        assert!(error.starts_with(start), "{body}: {error}");
    }
}

#[test]
fn a_format_needs_what_it_needs() {
    let of = |format, event: &str| check(json!({"zgw": zgw()}), format, DataMode::Full, event);
    assert_eq!(of(Format::Zgw, CREATED), Ok(()));
    assert_eq!(of(Format::NlGov, "*"), Ok(()));
    for without in [
        "ObjectLockedEvent",
        "ObjectUnlockedEvent",
        "ObjectRevertedEvent",
        "ObjectTransitionedEvent",
        "Object*",
    ] {
        let error = of(Format::Zgw, &format!("OCA\\OpenRegister\\Event\\{without}")).unwrap_err();
        assert!(error.contains("actie is create, update"), "{without}: {error}");
    }
    let error = check(json!({}), Format::Template, DataMode::Full, CREATED).unwrap_err();
    assert!(error.starts_with("template: is required"), "{error}");
    let event = EventPattern::parse(CREATED).unwrap();
    let nobody = EventSource::default();
    let error = BodyOptions::default()
        .check((Format::NlGov, DataMode::Full), &event, false, &nobody)
        .unwrap_err();
    assert!(error.to_string().contains("ORW_OIN"), "{error}");
    let error = read(json!({"zgw": zgw()}))
        .unwrap()
        .check((Format::Zgw, DataMode::Full), &event, true, &nobody)
        .unwrap_err();
    assert!(error.to_string().starts_with("gapEvents: "), "{error}");
}

#[test]
fn a_reference_reads_ids_only() {
    let of = |body| check(body, Format::Zgw, DataMode::Reference, CREATED);
    let error = of(json!({"zgw": zgw()})).unwrap_err();
    assert!(
        error.starts_with("zgw.kenmerken.type: names data.type"),
        "{error}"
    );
    let ids = json!({"kanaal": "{register}", "resourceUrl": "https://e.nl/{registerId}/{uuid}", "kenmerken": {"s": "schema"}});
    assert_eq!(of(json!({"zgw": ids})), Ok(()));
    let nlgov = json!({"nlgov": {"type": "nl.{data.x}.{kind}"}});
    assert!(check(nlgov, Format::NlGov, DataMode::Reference, CREATED).is_err());
}
