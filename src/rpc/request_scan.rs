//! Reads the raw bytes of a request before it is decoded: how many elements its lists have, how much memory it would
//! take, and which enterprise or company it names.
//!
//! An empty element takes two bytes on the wire and some hundred in memory, so a request within the limit of bytes could
//! fill the memory before any other limit is checked. The shapes of all requests come from the descriptors that are part
//! of the binary, so a new field or RPC needs nothing here.

use std::collections::HashMap;

use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::limits::{REQUEST_GROWTH_MAX, REQUEST_LIST_MAX, REQUEST_MEMORY_MIN};
use crate::proto;
use crate::types::ids::{CompanyId, EnterpriseId};

/// Bytes of a `String`, `Vec` or `BTreeMap` in a decoded message, without what it holds.
const CONTAINER_BYTES: usize = 24;
/// Messages deeper than this are refused by the decoder.
const DEPTH_MAX: usize = 100;

/// The shapes of the requests of all RPCs.
#[derive(Debug)]
pub(crate) struct RequestShapes {
    messages: Vec<MessageShape>,
    /// The position of each request's message, by the RPC's path `/package.Service/Method`.
    requests: HashMap<String, usize>,
}

#[derive(Debug, Default)]
struct MessageShape {
    /// Sorted by their numbers, for a binary search.
    fields: Vec<FieldShape>,
    /// How many of the fields are lists.
    lists: usize,
    /// Bytes of the message in memory, without what its texts, lists and maps hold.
    bytes: usize,
}

#[derive(Debug)]
struct FieldShape {
    number: u32,
    name: String,
    content: FieldContent,
    /// The position of a list or map among the lists of its message.
    list: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldContent {
    Message(usize),
    Text,
    /// A number, with its bytes in memory.
    Number(usize),
}

/// Who a request names as the owner of what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedOwner {
    /// The request has a field `enterprise_id`, which names this enterprise.
    Enterprise(EnterpriseId),
    /// The request has a field `company_id`, which names this company.
    Company(CompanyId),
}

/// The result of a scan.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ScannedRequest {
    /// An estimate of the memory that the decoded request takes, rather too high than too low.
    pub(crate) decoded_bytes: usize,
    /// `None` if the request names neither, or not in the form of an id.
    pub(crate) owner: Option<NamedOwner>,
}

impl RequestShapes {
    /// Reads the descriptors in the binary.
    ///
    /// # Errors
    /// They cannot be decoded, which a test excludes.
    pub(crate) fn load() -> Result<Self, prost::DecodeError> {
        let files = FileDescriptorSet::decode(proto::DESCRIPTORS)?;
        let mut builder = ShapesBuilder::default();
        for file in &files.file {
            for message in &file.message_type {
                builder.declare(&format!(".{}", file.package()), message);
            }
        }
        let mut requests = HashMap::new();
        for file in &files.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    if let Some(index) = builder.indices.get(method.input_type()) {
                        requests.insert(path, *index);
                    }
                }
            }
        }
        Ok(Self {
            messages: builder.finish(),
            requests,
        })
    }

    /// Scans the message of a request of this RPC. What cannot be decoded is left to the decoder.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] if a list has more than [`REQUEST_LIST_MAX`] elements, or if the decoded message would
    /// take more than [`REQUEST_GROWTH_MAX`] times its bytes and more than [`REQUEST_MEMORY_MIN`].
    pub(crate) fn scan(&self, path: &str, message: &[u8]) -> Result<ScannedRequest> {
        let Some(index) = self.requests.get(path) else {
            return Ok(ScannedRequest::default());
        };
        let mut scan = Scan {
            messages: &self.messages,
            allowed: (message.len() * REQUEST_GROWTH_MAX).max(REQUEST_MEMORY_MIN),
            found: ScannedRequest::default(),
        };
        scan.found.decoded_bytes = self.messages.get(*index).map_or(0, |shape| shape.bytes);
        match scan.message(*index, message, 0) {
            Ok(()) | Err(ScanEnd::Undecodable) => Ok(scan.found),
            Err(ScanEnd::Refused { field, rule }) => Err(Error::invalid(field, rule)),
        }
    }
}

/// Why a scan ended before the end of the message.
enum ScanEnd {
    /// The bytes are no message of the type.
    Undecodable,
    /// The request is refused because of this field.
    Refused { field: String, rule: String },
}

impl From<prost::DecodeError> for ScanEnd {
    fn from(_: prost::DecodeError) -> Self {
        Self::Undecodable
    }
}

impl ScanEnd {
    /// Puts the field that contains the refused one in front of its path.
    fn within(self, parent: &str, index: Option<usize>) -> Self {
        match self {
            Self::Refused { field, rule } => Self::Refused {
                field: match index {
                    Some(index) => format!("{parent}[{index}].{field}"),
                    None => format!("{parent}.{field}"),
                },
                rule,
            },
            Self::Undecodable => Self::Undecodable,
        }
    }
}

struct Scan<'a> {
    messages: &'a [MessageShape],
    /// The memory that the decoded message may take.
    allowed: usize,
    found: ScannedRequest,
}

impl Scan<'_> {
    fn message(&mut self, index: usize, mut bytes: &[u8], depth: usize) -> Result<(), ScanEnd> {
        let messages = self.messages;
        let shape = messages
            .get(index)
            .filter(|_| depth < DEPTH_MAX)
            .ok_or(ScanEnd::Undecodable)?;
        let mut counts = vec![0_usize; shape.lists];
        while !bytes.is_empty() {
            let (number, wire_type) = decode_key(&mut bytes)?;
            let found = shape
                .fields
                .binary_search_by_key(&number, |field| field.number)
                .ok()
                .and_then(|position| shape.fields.get(position));
            let Some(field) = found else {
                skip_field(wire_type, number, &mut bytes, DecodeContext::default())?;
                continue;
            };
            if wire_type != WireType::LengthDelimited {
                let before = bytes;
                skip_field(wire_type, number, &mut bytes, DecodeContext::default())?;
                self.count(field, &mut counts, 1)?;
                if depth == 0 && field.name == "company_id" && wire_type == WireType::Varint {
                    self.set_company(before)?;
                }
                continue;
            }
            let length = usize::try_from(decode_varint(&mut bytes)?).unwrap_or(usize::MAX);
            let (value, rest) = bytes.split_at_checked(length).ok_or(ScanEnd::Undecodable)?;
            bytes = rest;
            self.value(field, value, &mut counts, depth)?;
        }
        Ok(())
    }

    /// Scans the value of a field that is written with its length: a message, a text, or numbers in a row.
    fn value(
        &mut self,
        field: &FieldShape,
        value: &[u8],
        counts: &mut [usize],
        depth: usize,
    ) -> Result<(), ScanEnd> {
        match field.content {
            FieldContent::Number(_) => {
                // Each number ends with a byte whose first bit is 0; fixed widths, which no request has, count more.
                let numbers = value.iter().filter(|byte| **byte < 0x80).count();
                self.count(field, counts, numbers)
            }
            FieldContent::Text => {
                self.count(field, counts, 1)?;
                self.add(field, value.len())?;
                if depth == 0 && field.name == "enterprise_id" {
                    self.set_enterprise(value);
                }
                Ok(())
            }
            FieldContent::Message(index) => {
                let position = self.count(field, counts, 1).map(|()| {
                    let list = field.list.and_then(|list| counts.get(list));
                    list.map(|count| count.saturating_sub(1))
                })?;
                self.message(index, value, depth + 1)
                    .map_err(|end| end.within(&field.name, position))
            }
        }
    }

    /// Counts elements of a list, and the memory that they take; does nothing for a single value.
    fn count(
        &mut self,
        field: &FieldShape,
        counts: &mut [usize],
        elements: usize,
    ) -> Result<(), ScanEnd> {
        let Some(count) = field.list.and_then(|list| counts.get_mut(list)) else {
            return Ok(());
        };
        *count += elements;
        if *count > REQUEST_LIST_MAX {
            return Err(ScanEnd::Refused {
                field: field.name.clone(),
                rule: format!(
                    "has too many values: no list of a request may have more than {REQUEST_LIST_MAX}"
                ),
            });
        }
        let bytes = match field.content {
            FieldContent::Message(index) => self.messages.get(index).map_or(0, |shape| shape.bytes),
            FieldContent::Text => CONTAINER_BYTES,
            FieldContent::Number(bytes) => bytes,
        };
        // A list that grows has room for up to twice its elements.
        self.add(field, 2 * bytes * elements)
    }

    fn add(&mut self, field: &FieldShape, bytes: usize) -> Result<(), ScanEnd> {
        self.found.decoded_bytes += bytes;
        if self.found.decoded_bytes > self.allowed {
            return Err(ScanEnd::Refused {
                field: field.name.clone(),
                rule: format!(
                    "has too many values: with them the request would take more than {REQUEST_GROWTH_MAX} times its size in memory"
                ),
            });
        }
        Ok(())
    }

    fn set_enterprise(&mut self, value: &[u8]) {
        // The same form that the services require; the last value of a field counts.
        let id = (value.len() == 36)
            .then(|| Uuid::try_parse_ascii(value).ok())
            .flatten();
        self.found.owner = id.map(|id| NamedOwner::Enterprise(EnterpriseId(id)));
    }

    fn set_company(&mut self, mut value: &[u8]) -> Result<(), ScanEnd> {
        let id = decode_varint(&mut value)?.cast_signed();
        self.found.owner = Some(NamedOwner::Company(CompanyId(id)));
        Ok(())
    }
}

/// Collects the messages of all files, then resolves the names of their fields' types.
#[derive(Default)]
struct ShapesBuilder<'d> {
    /// By full name with a leading dot, as descriptors refer to types.
    indices: HashMap<String, usize>,
    messages: Vec<&'d DescriptorProto>,
}

impl<'d> ShapesBuilder<'d> {
    fn declare(&mut self, scope: &str, message: &'d DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        for nested in &message.nested_type {
            self.declare(&name, nested);
        }
        self.indices.insert(name, self.messages.len());
        self.messages.push(message);
    }

    fn finish(&self) -> Vec<MessageShape> {
        let mut sizes = vec![None; self.messages.len()];
        (0..self.messages.len())
            .map(|index| self.shape(index, &mut sizes))
            .collect()
    }

    fn shape(&self, index: usize, sizes: &mut [Option<usize>]) -> MessageShape {
        let bytes = self.size(index, sizes);
        let mut shape = MessageShape {
            bytes,
            ..MessageShape::default()
        };
        for field in self
            .messages
            .get(index)
            .map_or(&[][..], |message| &message.field)
        {
            let is_list = field.label() == Label::Repeated;
            shape.fields.push(FieldShape {
                number: u32::try_from(field.number()).unwrap_or(0),
                name: field.name().into(),
                content: self.content(field),
                list: is_list.then_some(shape.lists),
            });
            shape.lists += usize::from(is_list);
        }
        shape.fields.sort_by_key(|field| field.number);
        shape
    }

    fn content(&self, field: &FieldDescriptorProto) -> FieldContent {
        match field.r#type() {
            Type::Message | Type::Group => match self.indices.get(field.type_name()) {
                Some(index) => FieldContent::Message(*index),
                None => FieldContent::Text,
            },
            Type::String | Type::Bytes => FieldContent::Text,
            Type::Double
            | Type::Int64
            | Type::Uint64
            | Type::Sint64
            | Type::Fixed64
            | Type::Sfixed64 => FieldContent::Number(8),
            _ => FieldContent::Number(4),
        }
    }

    /// The bytes of the struct that a message is decoded to. A message within itself is a pointer.
    fn size(&self, index: usize, sizes: &mut [Option<usize>]) -> usize {
        if let Some(known) = sizes.get(index).copied().flatten() {
            return known;
        }
        if let Some(size) = sizes.get_mut(index) {
            *size = Some(CONTAINER_BYTES);
        }
        let fields = self
            .messages
            .get(index)
            .map_or(&[][..], |message| &message.field);
        let bytes = fields
            .iter()
            .map(|field| match (field.label(), self.content(field)) {
                (Label::Repeated, _) | (_, FieldContent::Text) => CONTAINER_BYTES,
                (_, FieldContent::Message(inner)) => self.size(inner, sizes) + 8,
                // An optional number has a flag beside it.
                (_, FieldContent::Number(bytes)) => 2 * bytes,
            })
            .sum::<usize>()
            .next_multiple_of(8);
        if let Some(size) = sizes.get_mut(index) {
            *size = Some(bytes);
        }
        bytes
    }
}

#[cfg(test)]
mod tests;
