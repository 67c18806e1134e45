//! SOAP faults for callers that speak nothing else: 1.1 (W3C Note of May 2000, §4.4) and 1.2 (Part 1 §5.4). The HTTP
//! status stays the one of our table, although SOAP 1.1 §6.2 would have 500 for every fault: proxies, portals and
//! monitoring between us and the caller must see a refusal for what it is. Called by `answer::render` alone.

use super::{Said, escape};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1_1,
    V1_2,
}

impl Version {
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Version::V1_1 => "text/xml; charset=utf-8",
            Version::V1_2 => "application/soap+xml; charset=utf-8",
        }
    }
}

/// The namespace of the element that carries our facts inside `detail`.
const NAMESPACE: &str = "urn:darvazeh:problem";

pub(super) fn body(said: &Said<'_>, version: Version) -> String {
    let detail = escape::markup(said.detail);
    let facts = [
        "<g:problem xmlns:g=\"",
        NAMESPACE,
        "\"><g:code>",
        said.code.as_str(),
        "</g:code><g:status>",
        said.status.as_str(),
        "</g:status><g:request_id>",
        said.id,
        "</g:request_id><g:detail>",
        &detail,
        "</g:detail></g:problem>",
    ]
    .concat();
    let caller = said.status.is_client_error();
    let (language, title) = (said.language.tag(), said.texts.title);
    match version {
        Version::V1_1 => {
            let fault = if caller { "Client" } else { "Server" };
            [
                r#"<?xml version="1.0" encoding="UTF-8"?>"#,
                r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:"#,
                fault,
                r#"</faultcode><faultstring xml:lang=""#,
                language,
                "\">",
                title,
                "</faultstring><detail>",
                &facts,
                "</detail></s:Fault></s:Body></s:Envelope>",
            ]
            .concat()
        }
        Version::V1_2 => {
            let fault = if caller { "Sender" } else { "Receiver" };
            [
                r#"<?xml version="1.0" encoding="UTF-8"?>"#,
                r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><s:Fault><s:Code><s:Value>s:"#,
                fault,
                r#"</s:Value></s:Code><s:Reason><s:Text xml:lang=""#,
                language,
                "\">",
                title,
                "</s:Text></s:Reason><s:Detail>",
                &facts,
                "</s:Detail></s:Fault></s:Body></s:Envelope>",
            ]
            .concat()
        }
    }
}
