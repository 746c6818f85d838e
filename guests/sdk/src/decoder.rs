//! The decoder that a function becomes.

use crate::abi::decoder::{Answer, Batch, Description};
use crate::abi::{Parameter, RejectedRow};
use crate::bounds::Verdict;
use crate::{Outputs, Parameters, Reject, log};

pub use crate::abi::decoder::Header;

/// A decoder as the host sees it: payloads in, columns out.
///
/// [`#[decoder]`](macro@crate::decoder) makes a `Rule` of a function, which is a `Decoder` natively as well as in a
/// component: for tests that compare the two, and for benches.
///
/// ```
/// use weir_guest::abi::decoder::Batch;
/// use weir_guest::abi::{ColumnValues, TextValues};
/// use weir_guest::{Decoder, Output, Reject, decoder};
///
/// #[derive(Output)]
/// struct Reading<'a> {
///     sensor: &'a str,
///     celsius: f64,
/// }
///
/// /// Lines of a sensor and its temperature, with a space between.
/// #[decoder]
/// fn readings(line: &str) -> Result<Reading<'_>, Reject> {
///     let (sensor, celsius) = line.split_once(' ').ok_or_else(|| Reject::new("there is no space in the payload"))?;
///     let celsius = celsius.parse().map_err(|_| Reject::new(format!("{celsius:?} is no number")))?;
///     Ok(Reading { sensor, celsius })
/// }
///
/// let payloads = TextValues { offsets: vec![0, 6, 10], data: b"s1 3.5warm".to_vec() };
/// let answer = Rule::configure(vec![])?.decode(&Batch { payloads, subjects: vec![], headers: vec![] });
///
/// assert_eq!(answer.rows.rows, [0]);
/// assert_eq!(answer.rows.computed[1].values, ColumnValues::Double(vec![3.5]));
/// assert_eq!(answer.rejected[0].reason, "there is no space in the payload");
/// # Ok::<(), String>(())
/// ```
pub trait Decoder: Sized {
    /// What the decoder gives and can be told.
    fn describe() -> Description;

    /// Makes a decoder with these parameters: all that [`describe`](Decoder::describe) lists, in that order and of that
    /// type.
    ///
    /// # Errors
    ///
    /// A sentence for the person who set the parameter: which one, what was wrong with it, what is accepted.
    fn configure(parameters: Vec<Parameter>) -> Result<Self, String>;

    /// Decodes a batch.
    ///
    /// # Panics
    ///
    /// The batch breaks the contract: there are fewer subjects or headers than payloads, where the decoder asks for them.
    /// And if its function panics.
    fn decode(&self, batch: &Batch) -> Answer;
}

/// A message as a decoder gets it: its payload, and what stands beside that. A decoder that needs the payload alone takes a
/// `&[u8]` or a `&str` instead: the host then sends no more.
///
/// ```
/// use weir_guest::{Header, Message};
///
/// let headers = [Header { name: "unit".to_owned(), value: "K".to_owned() }];
/// let message = Message { payload: b"280.5", subject: "plant.boiler", headers: &headers };
/// assert_eq!(message.header("unit"), Some("K"));
/// assert_eq!(message.header("Unit"), None);
/// assert_eq!(message.text(), Ok("280.5"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The payload, of any bytes.
    pub payload: &'a [u8],
    /// The subject that it was published under.
    pub subject: &'a str,
    /// Its headers, in its order.
    pub headers: &'a [Header],
}

impl<'a> Message<'a> {
    /// The payload as text.
    ///
    /// # Errors
    ///
    /// The payload is no UTF-8, which rejects the message.
    pub fn text(&self) -> Result<&'a str, Reject> {
        text(self.payload)
    }

    /// The value of the first header of this name, to the letter.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let mut headers = self.headers.iter();
        headers
            .find(|header| header.name == name)
            .map(|header| header.value.as_str())
    }
}

fn text(payload: &[u8]) -> Result<&str, Reject> {
    str::from_utf8(payload).map_err(|error| {
        let at = error.valid_up_to();
        Reject::new(format!("the payload is no UTF-8 from byte {at} on"))
    })
}

/// What a decoder's function takes of a message: its payload as a `&[u8]` or a `&str`, or all of it as a [`Message`].
#[diagnostic::on_unimplemented(
    message = "a decoder cannot take a message as `{Self}`",
    label = "not what a decoder takes",
    note = "it takes the payload as a `&[u8]` or a `&str`, or with its subject and headers as a `Message<'_>`"
)]
pub trait OfMessage<'a>: Sized {
    /// Whether it has subject and headers.
    #[doc(hidden)]
    const WHOLE: bool;

    #[doc(hidden)]
    fn of(message: Message<'a>) -> Result<Self, Reject>;
}

impl<'a> OfMessage<'a> for &'a [u8] {
    const WHOLE: bool = false;

    #[inline(always)]
    fn of(message: Message<'a>) -> Result<&'a [u8], Reject> {
        Ok(message.payload)
    }
}

impl<'a> OfMessage<'a> for &'a str {
    const WHOLE: bool = false;

    #[inline(always)]
    fn of(message: Message<'a>) -> Result<&'a str, Reject> {
        message.text()
    }
}

impl<'a> OfMessage<'a> for Message<'a> {
    const WHOLE: bool = true;

    #[inline(always)]
    fn of(message: Message<'a>) -> Result<Message<'a>, Reject> {
        Ok(message)
    }
}

/// A row that a decoder reads: a struct that derives `Output`.
#[diagnostic::on_unimplemented(
    message = "a decoder cannot give `{Self}`",
    label = "not a row",
    note = "a decoder gives rows of one kind: a struct that derives `Output`, an `Option`, `Vec` or array of it, or a `Result` of any of these with `Reject`"
)]
pub trait DecodedRow {}

impl<T: crate::Output> DecodedRow for T {}

/// For the attribute: the description of a decoder.
#[doc(hidden)]
pub fn describe<'a, M: OfMessage<'a>, P: Parameters, V>(name: &str, version: &str, doc: &str) -> Description
where
    V: Verdict<Outputs: Outputs<Set: DecodedRow>>,
{
    let outputs = V::Outputs::specs();
    let many = outputs.iter().any(|output| output.many);
    Description {
        name: name.to_owned(),
        version: version.to_owned(),
        doc: doc.to_owned(),
        columns: outputs.into_iter().flat_map(|output| output.computed).collect(),
        many,
        reads_subjects: M::WHOLE,
        reads_headers: M::WHOLE,
        parameters: P::specs(),
    }
}

/// For the attribute: the parameters of a decoder.
#[doc(hidden)]
pub fn configure<P: Parameters>(parameters: Vec<Parameter>) -> Result<P, String> {
    log::send_panics();
    P::from_values(parameters)
}

/// For the attribute: the loop over the messages of a batch.
#[doc(hidden)]
#[inline]
pub fn decode<'a, M: OfMessage<'a>, P, V: Verdict>(
    batch: &'a Batch,
    settings: &'a P,
    decoder: impl Fn(M, &'a P) -> V,
) -> Answer {
    let ends = &batch.payloads.offsets;
    let messages = ends.len() - 1;
    let mut sinks = V::Outputs::sinks(messages);
    let mut rejected = Vec::new();
    for number in 0..messages {
        let message = Message {
            payload: &batch.payloads.data[ends[number] as usize..ends[number + 1] as usize],
            subject: if M::WHOLE { &batch.subjects[number] } else { "" },
            headers: if M::WHOLE { &batch.headers[number] } else { &[] },
        };
        let row = number as u32;
        match M::of(message).and_then(|message| decoder(message, settings).outputs()) {
            Ok(given) => given.give(row, &mut sinks),
            Err(reject) => rejected.push(RejectedRow {
                row,
                reason: reject.into_reason(),
            }),
        }
    }
    let rows = V::Outputs::finish(sinks).pop();
    Answer {
        rows: rows.expect("a decoder has one output"),
        rejected,
    }
}

/// For the attribute: the exports of a component around a [`Decoder`].
#[doc(hidden)]
#[macro_export]
macro_rules! __export_decoder {
    ($rule:ty) => {
        const _: () = {
            use $crate::__private::bindings::decoder::exports::weir::stage::decoder::Guest;
            use $crate::abi::Parameter;
            use $crate::abi::decoder::{Answer, Batch, Description};

            std::thread_local! {
                /// Empty until the host has configured this instance.
                static CONFIGURED: std::cell::OnceCell<$rule> = const { std::cell::OnceCell::new() };
            }

            struct Component;

            impl Guest for Component {
                fn describe() -> Description {
                    <$rule as $crate::Decoder>::describe()
                }

                fn configure(parameters: Vec<Parameter>) -> Result<(), String> {
                    let rule = <$rule as $crate::Decoder>::configure(parameters)?;
                    CONFIGURED
                        .with(|configured| configured.set(rule))
                        .map_err(|_| "configured twice".to_owned())
                }

                fn decode(batch: Batch) -> Answer {
                    CONFIGURED.with(|configured| {
                        let rule = configured
                            .get()
                            .expect("the host configures an instance before its first batch");
                        $crate::Decoder::decode(rule, &batch)
                    })
                }
            }

            $crate::__private::bindings::decoder::export_decoder_component!(Component);
        };
    };
}
