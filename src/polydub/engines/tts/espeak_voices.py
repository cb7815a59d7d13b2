"""Which of espeak-ng's voice variants polydub offers, and how."""

# (variant, pitch, range, label), alternating low and high. Chosen by median F0 and long-term spectrum in Spanish and English:
# any two differ by >= 3 semitones or >= 3 dB, the first six by more (tests/engines/test_espeak.py measures it).
VOICES = (
    ("m3", 40, 50, "man, medium"),
    ("f2", 55, 50, "woman, medium"),
    ("m8", 45, 55, "man, low"),
    ("steph", 35, 45, "woman, low"),
    ("m7", 70, 60, "man, high"),
    ("f5", 68, 55, "woman, high"),
    ("m1", 20, 45, "man, very low"),
    ("grandma", 50, 50, "woman, old"),
    ("Henrique", 60, 60, "man, dark"),
    ("f4", 30, 50, "woman, very low"),
)

# What a voice near to a speaker is sought among: of 104 variants those that are voiced in at least 60 % of their frames, reach
# a DNSMOS of 1.85 and are no joke (robots, whispers, croaks), and of these mostly those least alike by voiceprint.
STOCK = (
    ("pablo", "man"),
    ("adam", "man"),
    ("marcelo", "man"),
    ("m2", "man"),
    ("m8", "man"),
    ("Lee", "man"),
    ("edward", "man"),
    ("iven4", "man"),
    ("miguel", "man"),
    ("david", "man"),
    ("max", "man"),
    ("m3", "man"),
    ("klatt4", "man"),
    ("norbert", "man"),
    ("Reed", "man"),
    ("gustave", "man"),
    ("Nguyen", "man"),
    ("f1", "woman"),
    ("f2", "woman"),
    ("f3", "woman"),
    ("f5", "woman"),
    ("steph", "woman"),
    ("Alicia", "woman"),
    ("grandma", "woman"),
    ("shelby", "woman"),
    ("f4", "woman"),
    ("aunty", "woman"),
)
STOCK_PITCHES = (20, 50, 80)
# Steps of the pitch, the ranges and the vocal tracts that are tried around one voice.
NEAR_PITCHES, NEAR_RANGES, NEAR_TRACTS = (-7, 0, 7), (25, 60), (92, 100, 108)
