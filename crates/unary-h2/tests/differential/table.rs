//! Where this crate does otherwise than the h2 crate.

/// A difference.
#[derive(Debug)]
pub(crate) struct Difference {
    /// The steps that show it.
    pub(crate) steps: &'static [&'static str],
    /// What comes of each with h2, in the words of `sides::text`.
    pub(crate) h2: &'static str,
    /// What comes of it here.
    pub(crate) here: &'static str,
    /// The section that says so, of RFC 9113 where no other is named.
    pub(crate) says: &'static str,
}

pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        steps: &[
            "an authority of Istio",
            "an authority with a slash",
            "an authority in percent encoding",
            "an authority beyond ASCII",
            "an empty authority",
        ],
        h2: "reset PROTOCOL_ERROR",
        here: "call, answer",
        says: "8.2.1 and 8.3.1: no rule makes a request malformed for the form of :authority, and clients send such",
    },
    Difference {
        steps: &["a path with a space"],
        h2: "reset PROTOCOL_ERROR",
        here: "call /a b, answer",
        says: "8.3.1: a path has to be there and not empty; which there are, the server knows",
    },
    Difference {
        steps: &["a path without a slash"],
        h2: "reset PROTOCOL_ERROR",
        here: "call shop, answer",
        says: "the same",
    },
    Difference {
        steps: &["a path with a fragment"],
        h2: "call /a, answer",
        here: "call /a#b, answer",
        says: "8.3.1: the path is what the client sends; h2 cuts it",
    },
    Difference {
        steps: &["a scheme that is none"],
        h2: "reset PROTOCOL_ERROR",
        here: "call, answer",
        says: "8.3.1: a scheme is not restricted to http and https; gRPC does not look at it",
    },
    Difference {
        steps: &["a method with a space", "an empty method"],
        h2: "goaway PROTOCOL_ERROR",
        here: "call, answer",
        says: "8.3.1: one value of :method has to be there; the server is told whether it is POST",
    },
    Difference {
        steps: &["a value with another control character"],
        h2: "goaway PROTOCOL_ERROR",
        here: "call, answer",
        says: "8.2.1: only NUL, LF and CR make a request malformed; other characters are for the server to refuse",
    },
    Difference {
        steps: &["te: Trailers"],
        h2: "reset PROTOCOL_ERROR",
        here: "call, answer",
        says: "8.2.2; RFC 9110, 10.1.4, and RFC 5234, 2.3: the word is the same in any case",
    },
    Difference {
        steps: &["no path"],
        h2: "call /, answer",
        here: "reset PROTOCOL_ERROR",
        says: "8.3.1: a request without :path is malformed, CONNECT excepted",
    },
    Difference {
        steps: &["a value with a space at its end"],
        h2: "call, answer",
        here: "reset PROTOCOL_ERROR",
        says: "8.2.1: a value that ends with white space makes the request malformed",
    },
    Difference {
        steps: &["trailers with a pseudo-header field"],
        h2: "call, answer",
        here: "reset PROTOCOL_ERROR",
        says: "8.1: trailers must not have pseudo-header fields; 8.1.1: that is malformed",
    },
    Difference {
        steps: &[
            "a name in uppercase",
            "a name with a space",
            "a name of no letters",
            "a name with a colon within",
            "a name beyond ASCII",
            "a value with NUL",
            "a value with a line feed",
            "an unknown pseudo-header field",
            "trailers with a name in uppercase",
        ],
        h2: "goaway PROTOCOL_ERROR",
        here: "reset PROTOCOL_ERROR",
        says: "8.1.1: a malformed request is an error of its stream; the block could be read, so that the connection goes on",
    },
    Difference {
        steps: &["WINDOW_UPDATE of 0 of an open stream"],
        h2: "goaway PROTOCOL_ERROR",
        here: "reset PROTOCOL_ERROR",
        says: "6.9: an increment of 0 is an error of the stream",
    },
    Difference {
        steps: &["WINDOW_UPDATE of 0 of an answered stream"],
        h2: "goaway PROTOCOL_ERROR",
        here: "",
        says: "5.1: WINDOW_UPDATE may come for a closed stream for a while, and changes nothing",
    },
    Difference {
        steps: &["PRIORITY of a wrong size"],
        h2: "goaway PROTOCOL_ERROR",
        here: "reset FRAME_SIZE_ERROR",
        says: "6.3: an error of the stream, FRAME_SIZE_ERROR",
    },
    Difference {
        steps: &["PRIORITY of a wrong size of an idle stream"],
        h2: "goaway PROTOCOL_ERROR",
        here: "goaway FRAME_SIZE_ERROR",
        says: "6.3, and 6.4: an idle stream cannot be reset",
    },
    Difference {
        steps: &["PRIORITY of a stream on itself", "a head that depends on itself"],
        h2: "reset PROTOCOL_ERROR",
        here: "goaway PROTOCOL_ERROR",
        says: "RFC 7540, 5.3.1: an error of the stream; 5.4.1: any such error may end the connection",
    },
    Difference {
        steps: &[
            "GOAWAY of a wrong size",
            "PING of a wrong size",
            "SETTINGS of a wrong size",
            "SETTINGS of a wrong size at first",
            "SETTINGS that acknowledge and set",
            "WINDOW_UPDATE of a wrong size",
            "a reset of a wrong size",
            "a head with a part of a priority",
        ],
        h2: "goaway PROTOCOL_ERROR",
        here: "goaway FRAME_SIZE_ERROR",
        says: "4.2, 6.4, 6.5, 6.7, 6.9: the code for a wrong size is FRAME_SIZE_ERROR",
    },
    Difference {
        steps: &["SETTINGS of a window beyond the largest"],
        h2: "goaway PROTOCOL_ERROR",
        here: "goaway FLOW_CONTROL_ERROR",
        says: "6.5.2: the code is FLOW_CONTROL_ERROR",
    },
    Difference {
        steps: &["SETTINGS that take a stream's window beyond the largest"],
        h2: "goaway FLOW_CONTROL_ERROR, settings",
        here: "goaway FLOW_CONTROL_ERROR",
        says: "6.5.3: settings are acknowledged once they have been applied",
    },
    Difference {
        steps: &["a head of an answered stream", "a head of a reset stream"],
        h2: "goaway PROTOCOL_ERROR",
        here: "goaway STREAM_CLOSED",
        says: "5.1: HEADERS for a closed stream are an error of type STREAM_CLOSED",
    },
    Difference {
        steps: &[
            "an index without an entry",
            "an index of 0",
            "a string that is no Huffman code",
            "a Huffman code with wrong padding",
            "a header block that ends within a field",
            "a header block that ends within an integer",
            "an integer that is too long",
            "a size of the table behind a field",
            "a size of the table that was not allowed",
        ],
        h2: "goaway PROTOCOL_ERROR",
        here: "goaway COMPRESSION_ERROR",
        says: "4.3: a block that cannot be read is an error of type COMPRESSION_ERROR",
    },
    Difference {
        steps: &["a request of HTTP/1.1", "a preface with a wrong byte"],
        h2: "closed",
        here: "goaway PROTOCOL_ERROR",
        says: "3.4: an error of type PROTOCOL_ERROR; GOAWAY may be left out",
    },
    Difference {
        steps: &["PING before SETTINGS"],
        h2: "ping",
        here: "goaway PROTOCOL_ERROR",
        says: "3.4: the first frame has to be SETTINGS",
    },
    Difference {
        steps: &[
            "a head before SETTINGS",
            "an acknowledgement before SETTINGS",
            "an unknown frame before SETTINGS",
        ],
        h2: "",
        here: "goaway PROTOCOL_ERROR",
        says: "3.4: the first frame has to be SETTINGS, and 6.5: not an acknowledgement of them",
    },
    Difference {
        steps: &[
            "a call",
            "a padded call",
            "a call with trailers",
            "a call of another path",
            "a call of many bytes",
            "a call with its length",
            "a gap between the numbers of streams",
        ],
        h2: "reset STREAM_CLOSED, reset REFUSED_STREAM",
        here: "reset REFUSED_STREAM",
        says: "5.1: frames behind a reset of this end are ignored",
    },
    Difference {
        steps: &["DATA of a stream that the server has reset"],
        h2: "reset STREAM_CLOSED",
        here: "",
        says: "the same, behind a reset for too many streams",
    },
    Difference {
        steps: &["a status of a request"],
        h2: "reset PROTOCOL_ERROR",
        here: "reset REFUSED_STREAM",
        says: "5.1.2 and 8.1.1: it is one stream too many, and malformed; either is said",
    },
    Difference {
        steps: &["a body beyond the stream's window"],
        h2: "reset FLOW_CONTROL_ERROR",
        here: "",
        says: "6.9.1: the window is enlarged when a part has been read, which here is when it comes",
    },
    Difference {
        steps: &["GOAWAY"],
        h2: "goaway NO_ERROR",
        here: "",
        says: "6.8: the client makes no more calls; which end then closes is left open, here it is the client or the age of the connection",
    },
    Difference {
        steps: &["the end of a body", "an empty end of a body", "trailers"],
        h2: "call, answer, goaway NO_ERROR",
        here: "call, answer",
        says: "the same: h2 ends the connection with the last stream behind a GOAWAY",
    },
];
