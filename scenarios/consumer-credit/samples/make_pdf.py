"""Write hk-credit-report.pdf beside this script: the sample report of an invented person, the same bytes always."""

from pathlib import Path
from typing import Final

LINES: Final = (
    ("F2", 20, "SAMPLE - NOT A REAL CREDIT REPORT"),
    ("F1", 11, "Every name, number and account on this page is invented."),
    ("F1", 11, ""),
    ("F2", 14, "Personal credit report (sample)"),
    ("F1", 11, "Issued by: Lion Stone Sample Credit Bureau (fictitious), Hong Kong"),
    ("F1", 11, "Date of report: 2 January 2026"),
    ("F1", 11, "Report number: SAMPLE-HK-0001"),
    ("F1", 11, ""),
    ("F2", 12, "Subject"),
    ("F1", 11, "Name: CHAN Sample Mui"),
    ("F1", 11, "Identity document: X000000(0) (invented)"),
    ("F1", 11, "Date of birth: 1 January 1990"),
    ("F1", 11, ""),
    ("F2", 12, "Accounts"),
    ("F1", 11, "Credit card, Sample Harbour Bank: limit HKD 80,000, balance HKD 6,200"),
    ("F1", 11, "Mortgage, Sample Harbour Bank: balance HKD 1,940,000, 214 instalments left"),
    ("F1", 11, ""),
    ("F2", 12, "Repayment history, last 24 months"),
    ("F1", 11, "Paid on time: 24 of 24. Arrears: none."),
    ("F1", 11, ""),
    ("F2", 12, "Enquiries, last 24 months"),
    ("F1", 11, "14 November 2025: Sample Harbour Bank, new application"),
    ("F1", 11, ""),
    ("F2", 20, "SAMPLE"),
)


def pdf() -> bytes:
    """Return the document: one page, the standard fonts, a cross-reference table."""
    content = _page_content()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R /F2 6 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
        b"<< /Title (SAMPLE - not a real credit report) /Producer (Luohu sample) >>",
    ]
    document = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(document))
        document += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return document + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\n"
        b"startxref\n%d\n%%%%EOF\n" % (size, table, size, len(objects), len(document))
    )


def _page_content() -> bytes:
    commands = ["BT", "60 780 Td", "20 TL"]
    for font, size, text in LINES:
        escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
        commands.append(f"/{font} {size} Tf ({escaped}) Tj T*")
    return "\n".join([*commands, "ET"]).encode("ascii")


if __name__ == "__main__":
    Path(__file__).with_name("hk-credit-report.pdf").write_bytes(pdf())
