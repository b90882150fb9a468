# Rules of sed that turn uvcvideo's answers into those that are expected of the clone of a webcam on USB. The
# comment above each rule gives the reason.

# A clone's versions are that of vb3's API.
s/^(\t(Driver|Media) version   ( ?): ).*/\16.12.0/
s/^(Media controller API version |driver version  ).*/\16.12.0/

# The original cannot stream, because its simulated bus moves no isochronous data. The clone can.
/^\t\tfail: v4l2-test-buffers\.cpp\([0-9]+\): (node->streamon|testBlockingDQBuf)/d
s/^(\ttest blocking wait: )FAIL$/\1OK/
s/: 49, Succeeded: 48, Failed: 1, /: 49, Succeeded: 49, Failed: 0, /

# Linux 6.12's uvcvideo lets only one file set the format, and v4l2-compliance warns about this.
/^\t\twarn: v4l2-test-formats\.cpp\([0-9]+\): Could not set fmt2$/d
s/(: 49, Succeeded: 49, Failed: 0, Warnings: )1$/\10/
