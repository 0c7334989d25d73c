"""`cutaway heads`, and the calibration of the thresholds that heads are named by."""
