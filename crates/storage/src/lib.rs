//! Makes writes durable and visible in one order, and moves rows into columns.
