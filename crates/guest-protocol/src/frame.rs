//! Frames: a length, a channel, and so many bytes.

use std::io::{self, ErrorKind, Read, Write};

/// The channel of [`Request`](crate::Request)s and [`Event`](crate::Event)s.
pub const CONTROL: u32 = 0;

/// The most bytes that a frame holds. A reader refuses more, so that a confused writer cannot make it allocate without bound.
pub const MAX_PAYLOAD: usize = 4 << 20;

/// So many bytes of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// [`CONTROL`], or the channel of a [`Stream`](crate::Stream).
    pub channel: u32,
    /// A message, or bytes of a stream; of a stream none at all when it has ended.
    pub payload: Vec<u8>,
}

/// Why no frame could be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side is gone or the device failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The length is out of bounds: this is no stream of frames, or it was read from the middle.
    #[error("a frame of {0} bytes, where {MAX_PAYLOAD} are the most")]
    TooLong(u32),
}

/// Read the next frame; `None` at the end of the stream.
///
/// # Errors
/// A stream that ends inside a frame is an [`ErrorKind::UnexpectedEof`].
pub fn read(from: &mut impl Read) -> Result<Option<Frame>, FrameError> {
    let mut header = [0; 8];
    let mut got = 0;
    while got < header.len() {
        match from.read(&mut header[got..]) {
            Ok(0) if got == 0 => return Ok(None),
            Ok(0) => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
            Ok(more) => got += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let [l0, l1, l2, l3, c0, c1, c2, c3] = header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    if length as usize > MAX_PAYLOAD {
        return Err(FrameError::TooLong(length));
    }
    let mut payload = vec![0; length as usize];
    from.read_exact(&mut payload)?;
    Ok(Some(Frame { channel: u32::from_le_bytes([c0, c1, c2, c3]), payload }))
}

/// Write one frame, as one call where the writer takes it.
///
/// # Errors
/// What the writer says.
///
/// # Panics
/// With more than [`MAX_PAYLOAD`] bytes.
pub fn write(to: &mut impl Write, channel: u32, payload: &[u8]) -> io::Result<()> {
    assert!(payload.len() <= MAX_PAYLOAD, "a frame of {} bytes", payload.len());
    let mut frame = Vec::with_capacity(8 + payload.len());
    frame.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    frame.extend_from_slice(&channel.to_le_bytes());
    frame.extend_from_slice(payload);
    to.write_all(&frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        write(&mut bytes, CONTROL, b"{}").expect("a vector takes all");
        write(&mut bytes, 7, b"").expect("a vector takes all");
        let mut from = bytes.as_slice();
        let first = read(&mut from).expect("a frame").expect("one more");
        assert_eq!(first, Frame { channel: CONTROL, payload: b"{}".to_vec() });
        assert_eq!(read(&mut from).expect("a frame").expect("one more").payload, b"");
        assert!(read(&mut from).expect("the end").is_none());
    }

    #[test]
    fn a_cut_or_mad_frame_is_an_error() {
        let mut bytes = Vec::new();
        write(&mut bytes, 1, b"abc").expect("a vector takes all");
        for length in 1..bytes.len() {
            assert!(read(&mut &bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
        }
        assert!(matches!(read(&mut [0xff; 8].as_slice()), Err(FrameError::TooLong(u32::MAX))));
    }
}
