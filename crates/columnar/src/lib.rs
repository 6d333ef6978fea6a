//! Turns Arrow arrays into checked segment bytes and back, and answers what can be answered on encoded data.
