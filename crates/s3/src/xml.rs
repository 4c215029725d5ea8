//! The XML documents in answers. All are small; a longer one is not read.

use jiff::Timestamp;
use roxmltree::{Document, Node};
use sha256::Digest;

use crate::content::{base64, from_base64};

/// What a server says of an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ErrorBody {
    pub(crate) code: String,
    pub(crate) message: String,
    /// The server's time, if clocks differ.
    pub(crate) server_time: Option<Timestamp>,
}

/// A part of an upload that the server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) number: u32,
    pub(crate) size: u64,
    /// As it is, with quotation marks.
    pub(crate) etag: String,
    pub(crate) sha256: Option<Digest>,
}

/// An upload that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upload {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) begun: Option<Timestamp>,
}

/// A page of a list, and the query with which the next page is asked for, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page<T> {
    pub(crate) entries: Vec<T>,
    pub(crate) next: Vec<(&'static str, String)>,
}

fn child<'a>(node: Node<'a, 'a>, name: &str) -> Option<&'a str> {
    node.children().find(|child| child.tag_name().name() == name)?.text().map(str::trim)
}

fn has_root(document: &Document, name: &str) -> bool {
    document.root_element().tag_name().name() == name
}

/// An error. It is the answer even to some requests that have the status 200.
pub(crate) fn error(text: &str) -> Option<ErrorBody> {
    let document = Document::parse(text).ok().filter(|document| has_root(document, "Error"))?;
    let word = |name| child(document.root_element(), name).unwrap_or_default().to_owned();
    Some(ErrorBody { code: word("Code"), message: word("Message"), server_time: word("ServerTime").parse().ok() })
}

/// The id of an upload that was begun.
pub(crate) fn upload_id(text: &str) -> Option<String> {
    let document = Document::parse(text).ok().filter(|document| has_root(document, "InitiateMultipartUploadResult"))?;
    child(document.root_element(), "UploadId").filter(|id| !id.is_empty()).map(str::to_owned)
}

/// Whether an upload was completed.
pub(crate) fn is_completed(text: &str) -> bool {
    Document::parse(text).is_ok_and(|document| has_root(&document, "CompleteMultipartUploadResult"))
}

/// Parts of an upload.
pub(crate) fn parts(text: &str) -> Option<Page<Part>> {
    let document = Document::parse(text).ok().filter(|document| has_root(document, "ListPartsResult"))?;
    let root = document.root_element();
    let part = |node| {
        let sha256 = child(node, "ChecksumSHA256").and_then(from_base64);
        Some(Part {
            number: child(node, "PartNumber")?.parse().ok()?,
            size: child(node, "Size")?.parse().ok()?,
            etag: child(node, "ETag")?.to_owned(),
            sha256,
        })
    };
    let entries = root.children().filter(|node| node.tag_name().name() == "Part").filter_map(part).collect();
    let next = next(root, &[("NextPartNumberMarker", "part-number-marker")]);
    Some(Page { entries, next })
}

/// Uploads that were begun.
pub(crate) fn uploads(text: &str) -> Option<Page<Upload>> {
    let document = Document::parse(text).ok().filter(|document| has_root(document, "ListMultipartUploadsResult"))?;
    let root = document.root_element();
    let upload = |node| {
        let begun = child(node, "Initiated").and_then(|text| text.parse().ok());
        Some(Upload { key: child(node, "Key")?.to_owned(), id: child(node, "UploadId")?.to_owned(), begun })
    };
    let entries = root.children().filter(|node| node.tag_name().name() == "Upload").filter_map(upload).collect();
    let next = next(root, &[("NextKeyMarker", "key-marker"), ("NextUploadIdMarker", "upload-id-marker")]);
    Some(Page { entries, next })
}

/// The query for the next page: empty if this is the last one.
fn next(root: Node, markers: &[(&str, &'static str)]) -> Vec<(&'static str, String)> {
    if child(root, "IsTruncated") != Some("true") {
        return Vec::new();
    }
    let value = |(name, query): &(&str, &'static str)| Some((*query, child(root, name)?.to_owned()));
    markers.iter().filter_map(value).collect()
}

/// The document that completes an upload.
pub(crate) fn complete(parts: &[Part]) -> String {
    let mut text = String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for part in parts {
        // An ETag is a quoted word (RFC 9110, section 8.8.3); what else it has is not for XML.
        let etag = part.etag.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
        text.push_str(&format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag>", part.number));
        if let Some(sha256) = &part.sha256 {
            text.push_str(&format!("<ChecksumSHA256>{}</ChecksumSHA256>", base64(sha256)));
        }
        text.push_str("</Part>");
    }
    text.push_str("</CompleteMultipartUpload>");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_error_with_the_servers_time() {
        let text = "<?xml version='1.0' encoding='UTF-8'?>\n<Error><Code>RequestTimeTooSkewed</Code><Message>The difference \
                    is too large.</Message><ServerTime>2026-11-29T20:00:00.000Z</ServerTime></Error>";
        let found = error(text).unwrap();
        assert_eq!(
            (found.code.as_str(), found.message.as_str()),
            ("RequestTimeTooSkewed", "The difference is too large.")
        );
        assert_eq!(found.server_time, "2026-11-29T20:00:00Z".parse().ok());
        assert_eq!(error("<html>502</html>"), None);
    }

    #[test]
    fn parts_and_the_next_page() {
        let text = "<ListPartsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><IsTruncated>true</IsTruncated>\
                    <NextPartNumberMarker>2</NextPartNumberMarker><Part><PartNumber>2</PartNumber><ETag>&quot;ab&quot;</ETag>\
                    <Size>5</Size></Part><Part><PartNumber>x</PartNumber></Part></ListPartsResult>";
        let page = parts(text).unwrap();
        assert_eq!(page.entries, [Part { number: 2, size: 5, etag: "\"ab\"".into(), sha256: None }]);
        assert_eq!(page.next, [("part-number-marker", "2".to_owned())]);
    }

    #[test]
    fn uploads_that_were_begun() {
        let text = "<ListMultipartUploadsResult><Upload><Key>a/b</Key><UploadId>7</UploadId>\
                    <Initiated>2026-11-29T20:00:00.000Z</Initiated></Upload></ListMultipartUploadsResult>";
        let page = uploads(text).unwrap();
        assert_eq!((page.entries[0].key.as_str(), page.entries[0].id.as_str(), page.next.len()), ("a/b", "7", 0));
        assert!(page.entries[0].begun.is_some());
    }

    proptest! {
        #[test]
        fn what_is_sent_can_be_parsed(parts in proptest::collection::vec((1_u32..10_000, ".{0,9}", any::<[u8; 32]>()), 0..4)) {
            let wanted: Vec<_> = parts.into_iter().map(|(number, etag, sha256)| Part {
                number, size: 0, etag: etag.replace(|char: char| char.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&char), ""), sha256: Some(sha256.into()),
            }).collect();
            let text = complete(&wanted);
            let document = Document::parse(&text);
            prop_assert!(document.is_ok(), "{text}");
            let document = document.unwrap();
            let etags: Vec<_> = document.descendants().filter(|node| node.has_tag_name(("http://s3.amazonaws.com/doc/2006-03-01/", "ETag"))).map(|node| node.text().unwrap_or_default().to_owned()).collect();
            prop_assert_eq!(etags, wanted.into_iter().map(|part| part.etag).collect::<Vec<_>>());
        }
    }
}
