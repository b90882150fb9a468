//! Streams through workers, compared with what ffmpeg makes of them.

mod decoder;
mod encoder;
mod harm;
mod jpeg;
mod tools;
