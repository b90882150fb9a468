//! The converter: what v4l2-ctl and GStreamer make it do, compared with what ffmpeg makes of it.
