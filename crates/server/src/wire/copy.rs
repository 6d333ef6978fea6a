//! COPY over the wire, in both directions.

use colonnade_execution::{CommandTag, CopyFormat, CopyIn, CopyOut};
use colonnade_types::Format;
use futures::StreamExt;
use pgwire::messages::PgWireFrontendMessage as Message;

use super::connection::Connection;
use super::decode::{decode, violation};
use super::watch::{Failure, ended, flush, watch};
use crate::phase::Phase;

impl Connection {
    /// Takes the client's rows until it says that they end.
    pub(super) async fn copy_in(&mut self, copy: CopyIn) -> Result<CommandTag, Failure> {
        self.output.copy_response(b'G', wire_format(copy.format), copy.column_count);
        let mut copy = copy;
        loop {
            match self.next_copy_message().await? {
                Message::CopyData(data) => {
                    watch(&mut self.reader, &self.cancel, &mut self.phase, copy.write(data.data)).await?;
                }
                Message::CopyDone(_) => {
                    return watch(&mut self.reader, &self.cancel, &mut self.phase, copy.finish()).await;
                }
                Message::CopyFail(fail) => {
                    return Err(copy.abort(&fail.message).into());
                }
                // Pipelined by clients that did not know that a COPY would begin.
                Message::Flush(_) | Message::Sync(_) => {}
                Message::Terminate(_) => return Err(Failure::Gone),
                _ => return Err(violation("unexpected message type during COPY from stdin").into()),
            }
        }
    }

    async fn next_copy_message(&mut self) -> Result<Message, Failure> {
        loop {
            if let Some(frame) = self.reader.take()? {
                return Ok(decode(frame)?);
            }
            flush(&mut self.output, &mut self.phase).await?;
            tokio::select! {
                biased;
                read = self.reader.fill() => {
                    if !matches!(read, Ok(1..)) {
                        return Err(Failure::Gone);
                    }
                }
                _ = self.phase.wait_for(|phase| *phase == Phase::Ending) => return Err(Failure::Error(ended())),
            }
        }
    }

    /// Sends the rows of a COPY.
    pub(super) async fn copy_out(&mut self, copy: CopyOut) -> Result<CommandTag, Failure> {
        let mut copy = copy;
        self.output.copy_response(b'H', wire_format(copy.format), copy.column_count);
        loop {
            let next = async { copy.chunks.next().await.transpose() };
            let Some(chunk) = watch(&mut self.reader, &self.cancel, &mut self.phase, next).await? else { break };
            if copy.format == CopyFormat::Text {
                // Clients may count on one row a message; in this format a line is a row.
                for line in chunk.split_inclusive(|byte| *byte == b'\n') {
                    self.output.body(b'd', |out| out.extend_from_slice(line));
                    self.relieve().await?;
                }
            } else {
                self.output.body(b'd', |out| out.extend_from_slice(&chunk));
                self.relieve().await?;
            }
        }
        self.output.empty(b'c');
        Ok(copy.tag())
    }
}

fn wire_format(format: CopyFormat) -> Format {
    if format == CopyFormat::Binary { Format::Binary } else { Format::Text }
}
