"""`cutaway steer`: a direction is written into the stream, and benefit and cost are measured."""
