"""The arguments of the machine code of windows, in the order of its words."""

NAMES = ("jitgrad_columns", "jitgrad_sums", "jitgrad_peaks")

_SIZES = ("h", "w", "kernel_h", "kernel_w", "out_h", "out_w")

COLUMN_WORDS = (
    *("to", "x", "images", "channels", *_SIZES, "step_h", "step_w", "before_h", "before_w"),
    *("dilation_h", "dilation_w", "x_image", "x_channel", "x_h", "x_w"),
)

PEAK_WORDS = ("to", "x", "rows", "columns", *_SIZES)
